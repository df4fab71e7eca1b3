"""What the doctor says of email, by SendGrid and by SMTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertctl.sandbox import Sandbox
from doctor.clinic import Clinic, failures, outcomes

LOGIN = ("alertctl", "the-right-password")
STEPS = ("SMTP DNS", "SMTP connect", "SMTP TLS", "SMTP AUTH")


@pytest.mark.parametrize(
    ("address", "outcome"),
    [("alertctl@localhost", "warning"), ("alerts@intranet", "warning"), ("alerts@corp.example", "ok")],
)
def test_a_sender_without_a_real_domain_is_a_warning(clinic, address, outcome):
    found = clinic.email(EMAIL_FROM_ADDRESS=address)["sender"]
    assert found.outcome == outcome
    assert address in found.what


def test_no_admin_emails_are_a_warning(clinic):
    assert clinic.email(NOTIFICATION_ADMIN_EMAILS="")["admin emails"].outcome == "warning"


def test_without_a_key_and_a_server_the_provider_is_missing(clinic):
    found = clinic.email(SMTP_HOST="")
    assert failures(found) == {"provider"}
    assert not set(STEPS) & set(found)


def test_sendgrid_is_the_provider_when_there_is_a_key(clinic):
    found = clinic.email(by="sendgrid", SMTP_HOST="mail.corp.example")
    assert "SendGrid" in found["provider"].what
    assert not set(STEPS) & set(found)
    assert failures(found) == set()


# --- SendGrid ---


@pytest.mark.parametrize(("key", "outcome"), [("SG.sandbox.key", "ok"), ("SG.short", "warning"), ("key", "warning")])
def test_a_key_is_judged_by_its_shape(clinic, key, outcome):
    found = clinic.email(by="sendgrid", SENDGRID_API_KEY=key)["SendGrid key"]
    assert found.outcome == outcome


def test_a_key_without_mail_send_is_a_failure(clinic):
    clinic.sandbox.sendgrid.scopes = ("stats.read",)
    found = clinic.email(by="sendgrid")["mail.send"]
    assert (found.outcome, "mail.send" in found.what) == ("failure", True)


@pytest.mark.parametrize(
    "fault", ["http_403", "http_404", "http_500", "http_503", "429:3", "html_200", "empty_200", "reply:[]", "reply:{}"]
)
def test_not_being_told_the_scopes_is_not_a_no(clinic, fault):
    clinic.sandbox.sendgrid.faults.always(fault)
    found = clinic.email(by="sendgrid")
    assert found["mail.send"].outcome == "unknown"
    assert failures(found) == set()


@pytest.mark.parametrize("fault", ["http_401", "close_before_reading", "rst", "redirect_302:http://login.example/"])
def test_a_refused_key_and_a_lost_connection_are_failures(clinic, fault):
    clinic.sandbox.sendgrid.faults.always(fault)
    assert failures(clinic.email(by="sendgrid")) == {"mail.send"}


# --- SMTP ---


def _steps(clinic: Clinic, **more: str) -> list[str]:
    found = outcomes(clinic.email(**more))
    return [found[step] for step in STEPS]


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
def test_a_session_that_ends_early_shows_where(clinic, fault, expected):
    clinic.sandbox.smtp.credentials = LOGIN
    clinic.sandbox.smtp.faults.always(fault)
    assert _steps(clinic) == expected


def test_a_server_that_does_not_greet_may_want_tls_from_the_start(tmp_path):
    with Sandbox(tls=True, smtp_tls="implicit") as sandbox:
        found = Clinic(sandbox, tmp_path).email(SMTP_SECURITY="none", ALERTCTL_DEADLINE="300ms")["SMTP connect"]
    assert found.outcome == "failure"
    assert "SMTP_SECURITY=tls" in found.fix


def test_a_host_without_an_address_is_a_failure_of_dns(clinic):
    # A label longer than DNS allows: nobody has to be asked.
    found = clinic.email(SMTP_HOST=f"{'x' * 70}.corp.example")
    assert [found[step].outcome for step in STEPS] == ["failure", "unknown", "unknown", "unknown"]
    assert "dns_failure" in found["SMTP DNS"].what
    assert "SMTP_HOST" in found["SMTP DNS"].fix


def test_a_login_that_is_offered_and_not_used_cannot_be_told(clinic):
    clinic.sandbox.smtp.credentials = LOGIN
    assert _steps(clinic, SMTP_USERNAME="", SMTP_PASSWORD="")[3] == "unknown"


def test_a_user_name_without_a_password_is_a_mistake_in_the_settings(clinic):
    found = clinic.email(SMTP_USERNAME="me")
    assert found["settings"].outcome == "failure"
    assert "SMTP_PASSWORD" in found["settings"].fix


@pytest.fixture(params=["starttls", "implicit"])
def secured(request: pytest.FixtureRequest, tmp_path) -> Iterator[Clinic]:
    with Sandbox(tls=True, smtp_tls=request.param) as sandbox:
        sandbox.smtp.credentials = LOGIN
        yield Clinic(sandbox, tmp_path)


def test_tls_is_shown_with_its_version_and_the_login_goes_through_it(secured):
    found = secured.email()
    assert [found[step].outcome for step in STEPS] == ["ok"] * 4
    assert found["SMTP TLS"].what.startswith("TLSv1.")


def test_a_certificate_that_is_not_trusted_is_a_failure_of_tls(secured):
    found = secured.email(ALERTCTL_CA_BUNDLE="")
    assert [found[step].outcome for step in STEPS] == ["ok", "ok", "failure", "unknown"]
    assert "tls_untrusted" in found["SMTP TLS"].what
    assert "ALERTCTL_CA_BUNDLE" in found["SMTP TLS"].fix


def test_a_refusal_after_tls_is_no_failure_of_tls(tmp_path):
    with Sandbox(tls=True, smtp_tls="implicit") as sandbox:
        sandbox.smtp.faults.always("greeting_554")
        assert _steps(Clinic(sandbox, tmp_path)) == ["ok", "failure", "ok", "unknown"]


@pytest.mark.parametrize(("flavour", "code"), [("expired", "tls_expired"), ("wrong_host", "tls_wrong_host")])
def test_a_bad_certificate_is_named_for_smtp_slack_and_sendgrid(tmp_path, flavour, code):
    with Sandbox(tls=flavour) as sandbox:
        clinic = Clinic(sandbox, tmp_path)
        found = [clinic.email()["SMTP TLS"], clinic.email(by="sendgrid")["mail.send"], clinic.slack()["auth.test"]]
    assert [(each.outcome, code in each.what) for each in found] == [("failure", True)] * 3


def test_starttls_that_is_wanted_and_not_offered_is_a_failure_of_tls(clinic):
    found = clinic.email(SMTP_SECURITY="starttls")
    assert failures(found) == {"SMTP TLS"}
    assert "starttls_unavailable" in found["SMTP TLS"].what


def test_tls_spoken_to_a_plain_port_is_a_failure_of_tls(clinic):
    assert failures(clinic.email(SMTP_SECURITY="tls")) == {"SMTP TLS"}


@pytest.mark.parametrize("by", ["smtp", "sendgrid"])
def test_an_unusable_ca_bundle_is_named(tls_sandbox, tmp_path, by):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    found = Clinic(tls_sandbox, tmp_path).email(by=by, ALERTCTL_CA_BUNDLE=str(bundle))
    assert failures(found) == {"SMTP TLS" if by == "smtp" else "mail.send"}
    assert "ALERTCTL_CA_BUNDLE" in "".join(each.fix for each in found.values())
