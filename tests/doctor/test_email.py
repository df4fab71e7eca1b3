"""The doctor's findings about email, by SendGrid and by SMTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertctl.sandbox import Sandbox
from tests.support.doctor import DoctorHarness, failures, outcomes

LOGIN = ("alertctl", "the-right-password")
STEPS = ("SMTP DNS", "SMTP connect", "SMTP TLS", "SMTP AUTH")


@pytest.mark.parametrize(
    ("address", "outcome"),
    [("alertctl@localhost", "warning"), ("alerts@intranet", "warning"), ("alerts@corp.example", "ok")],
)
def test_a_sender_without_a_real_domain_is_a_warning(harness, address, outcome):
    finding = harness.email(EMAIL_FROM_ADDRESS=address)["sender"]
    assert finding.outcome == outcome
    assert address in finding.what


def test_no_admin_emails_are_a_warning(harness):
    assert harness.email(NOTIFICATION_ADMIN_EMAILS="")["admin emails"].outcome == "warning"


def test_without_a_key_and_a_server_the_provider_is_missing(harness):
    findings = harness.email(SMTP_HOST="")
    assert failures(findings) == {"provider"}
    assert not set(STEPS) & set(findings)


def test_sendgrid_is_the_provider_when_there_is_a_key(harness):
    findings = harness.email(by="sendgrid", SMTP_HOST="mail.corp.example")
    assert "SendGrid" in findings["provider"].what
    assert not set(STEPS) & set(findings)
    assert failures(findings) == set()


# --- SendGrid ---


@pytest.mark.parametrize(("key", "outcome"), [("SG.sandbox.key", "ok"), ("SG.short", "warning"), ("key", "warning")])
def test_a_key_is_judged_by_its_shape(harness, key, outcome):
    finding = harness.email(by="sendgrid", SENDGRID_API_KEY=key)["SendGrid key"]
    assert finding.outcome == outcome


def test_a_key_without_mail_send_is_a_failure(harness):
    harness.sandbox.sendgrid.scopes = ("stats.read",)
    finding = harness.email(by="sendgrid")["mail.send"]
    assert (finding.outcome, "mail.send" in finding.what) == ("failure", True)


@pytest.mark.parametrize("fault", ["http_403", "http_500", "http_503", "429:3"])
def test_a_refusal_to_list_the_scopes_is_not_a_no(harness, fault):
    harness.sandbox.sendgrid.faults.always(fault)
    findings = harness.email(by="sendgrid")
    assert findings["mail.send"].outcome == "unknown"
    assert failures(findings) == set()


@pytest.mark.parametrize(
    "fault",
    ["http_404", "html_200", "empty_200", "reply:[]", "reply:{}", r"raw:HTTP/1.1 401 No\r\n\r\n<html>Log in</html>"],
)
def test_a_server_that_does_not_answer_like_sendgrid_is_a_wrong_url(harness, fault):
    harness.sandbox.sendgrid.faults.always(fault)
    finding = harness.email(by="sendgrid")["mail.send"]
    assert (finding.outcome, "SENDGRID_API_URL" in finding.fix) == ("failure", True)


def test_a_path_in_the_url_is_a_wrong_url(harness):
    finding = harness.email(by="sendgrid", SENDGRID_API_URL=f"{harness.sandbox.sendgrid_api_url}/v3")["mail.send"]
    assert (finding.outcome, "without a path" in finding.fix) == ("failure", True)


@pytest.mark.parametrize("fault", ["http_401", "close_before_reading", "rst", "redirect_302:http://login.example/"])
def test_a_refused_key_and_a_lost_connection_are_failures(harness, fault):
    harness.sandbox.sendgrid.faults.always(fault)
    assert failures(harness.email(by="sendgrid")) == {"mail.send"}


# --- SMTP ---


def _steps(harness: DoctorHarness, **more: str) -> list[str]:
    findings = outcomes(harness.email(**more))
    return [findings[step] for step in STEPS]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("greeting_554", ["ok", "failure", "unknown", "unknown"]),
        ("greeting_421", ["ok", "unknown", "unknown", "unknown"]),
        ("greeting_garbage", ["ok", "failure", "unknown", "unknown"]),
        ("close_before_reading", ["ok", "failure", "unknown", "unknown"]),
        ("ehlo_refused", ["ok", "failure", "unknown", "unknown"]),
        ("auth_535", ["ok", "ok", "ok", "failure"]),
        ("auth_454", ["ok", "ok", "ok", "unknown"]),
        ("auth_421", ["ok", "ok", "ok", "unknown"]),
        ("quit_421", ["ok", "ok", "ok", "ok"]),
        ("quit_drop", ["ok", "ok", "ok", "ok"]),
    ],
)
def test_a_session_that_ends_early_shows_where(harness, fault, expected):
    harness.sandbox.smtp.credentials = LOGIN
    harness.sandbox.smtp.faults.always(fault)
    assert _steps(harness) == expected


def test_a_server_that_does_not_greet_may_want_tls_from_the_start(tmp_path):
    with Sandbox(tls=True, smtp_tls="implicit") as sandbox:
        finding = DoctorHarness(sandbox, tmp_path).email(SMTP_SECURITY="none", ALERTCTL_DEADLINE="300ms")[
            "SMTP connect"
        ]
    assert finding.outcome == "failure"
    assert "SMTP_SECURITY=tls" in finding.fix


def test_a_host_without_an_address_is_a_failure_of_dns(harness):
    # A label longer than DNS allows: nobody has to be asked.
    findings = harness.email(SMTP_HOST=f"{'x' * 70}.corp.example")
    assert [findings[step].outcome for step in STEPS] == ["failure", "unknown", "unknown", "unknown"]
    assert "dns_failure" in findings["SMTP DNS"].what
    assert "SMTP_HOST" in findings["SMTP DNS"].fix


def test_a_login_that_is_offered_and_not_used_is_unknown(harness):
    harness.sandbox.smtp.credentials = LOGIN
    assert _steps(harness, SMTP_USERNAME="", SMTP_PASSWORD="")[3] == "unknown"


def test_a_user_name_without_a_password_is_a_mistake_in_the_settings(harness):
    findings = harness.email(SMTP_USERNAME="me")
    assert findings["settings"].outcome == "failure"
    assert "SMTP_PASSWORD" in findings["settings"].fix


@pytest.fixture(params=["starttls", "implicit"])
def secured(request: pytest.FixtureRequest, tmp_path) -> Iterator[DoctorHarness]:
    with Sandbox(tls=True, smtp_tls=request.param) as sandbox:
        sandbox.smtp.credentials = LOGIN
        yield DoctorHarness(sandbox, tmp_path)


def test_tls_is_shown_with_its_version_and_the_login_goes_through_it(secured):
    findings = secured.email()
    assert [findings[step].outcome for step in STEPS] == ["ok"] * 4
    assert findings["SMTP TLS"].what.startswith("TLSv1.")


def test_a_certificate_that_is_not_trusted_is_a_failure_of_tls(secured):
    findings = secured.email(ALERTCTL_CA_BUNDLE="")
    assert [findings[step].outcome for step in STEPS] == ["ok", "ok", "failure", "unknown"]
    assert "tls_untrusted" in findings["SMTP TLS"].what
    assert "ALERTCTL_CA_BUNDLE" in findings["SMTP TLS"].fix


def test_a_refusal_after_tls_is_no_failure_of_tls(tmp_path):
    with Sandbox(tls=True, smtp_tls="implicit") as sandbox:
        sandbox.smtp.faults.always("greeting_554")
        assert _steps(DoctorHarness(sandbox, tmp_path)) == ["ok", "failure", "ok", "unknown"]


@pytest.mark.parametrize(("flavour", "code"), [("expired", "tls_expired"), ("wrong_host", "tls_wrong_host")])
def test_a_bad_certificate_is_named_for_smtp_slack_and_sendgrid(tmp_path, flavour, code):
    with Sandbox(tls=flavour) as sandbox:
        harness = DoctorHarness(sandbox, tmp_path)
        findings = [
            harness.email()["SMTP TLS"],
            harness.email(by="sendgrid")["mail.send"],
            harness.slack()["auth.test"],
        ]
    assert [(finding.outcome, code in finding.what) for finding in findings] == [("failure", True)] * 3


def test_required_starttls_that_is_not_offered_is_a_failure_of_tls(harness):
    findings = harness.email(SMTP_SECURITY="starttls")
    assert failures(findings) == {"SMTP TLS"}
    assert "starttls_unavailable" in findings["SMTP TLS"].what


def test_tls_spoken_to_a_plain_port_is_a_failure_of_tls(harness):
    assert failures(harness.email(SMTP_SECURITY="tls")) == {"SMTP TLS"}


@pytest.mark.parametrize("by", ["smtp", "sendgrid"])
def test_an_unusable_ca_bundle_is_named(tls_sandbox, tmp_path, by):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    findings = DoctorHarness(tls_sandbox, tmp_path).email(by=by, ALERTCTL_CA_BUNDLE=str(bundle))
    assert failures(findings) == {"settings", "SMTP TLS" if by == "smtp" else "mail.send"}
    for name in failures(findings):
        assert "ALERTCTL_CA_BUNDLE" in findings[name].fix


def test_an_unusable_ca_bundle_is_named_where_no_tls_is_used(harness, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    for findings in (harness.email(ALERTCTL_CA_BUNDLE=str(bundle)), harness.slack(ALERTCTL_CA_BUNDLE=str(bundle))):
        assert failures(findings) == {"settings"}
        assert findings["settings"].what.startswith(f"ALERTCTL_CA_BUNDLE {bundle} cannot be read as PEM certificates")
