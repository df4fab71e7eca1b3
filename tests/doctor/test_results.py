"""The doctor's complete report for common cases, over real sockets."""

from __future__ import annotations

import pytest

from alertctl.config import load
from alertctl.db import Store, upgrade
from alertctl.doctor import checks_for
from tests.support.doctor import DoctorHarness, Findings, closed_port, failures, outcomes, run_doctor

PASSWORD = "a-wrong-password"


def good(harness: DoctorHarness) -> Findings:
    return run_doctor(harness.environ(), harness.folder)


def revoked_token(harness: DoctorHarness) -> Findings:
    harness.sandbox.slack.auth_error = "token_revoked"
    return good(harness)


def missing_scope(harness: DoctorHarness) -> Findings:
    harness.sandbox.slack.scopes = ("chat:write.public",)
    return good(harness)


def bad_sendgrid_key(harness: DoctorHarness) -> Findings:
    return run_doctor(harness.environ(email="sendgrid", SENDGRID_API_KEY="SG.not.ours"), harness.folder)


def bad_smtp_password(harness: DoctorHarness) -> Findings:
    harness.sandbox.smtp.credentials = ("alertctl", "the-right-password")
    return run_doctor(harness.environ(SMTP_PASSWORD=PASSWORD), harness.folder)


def all_unreachable(harness: DoctorHarness) -> Findings:
    with closed_port() as port:
        away = {
            "SLACK_API_URL": f"http://127.0.0.1:{port}/api/",
            "SMTP_PORT": str(port),
            "DATABASE_URL": f"postgresql://alertctl:{PASSWORD}@127.0.0.1:{port}/alertctl",
        }
        return run_doctor(harness.environ(**away), harness.folder)


CASES = {
    good: {},
    revoked_token: {"slack auth.test": "token_revoked"},
    missing_scope: {"slack chat:write": "chat:write"},
    bad_sendgrid_key: {"email mail.send": "unauthorized"},
    bad_smtp_password: {"email SMTP AUTH": "535"},
    all_unreachable: {
        "slack auth.test": "connection_refused",
        "email SMTP connect": "connection_refused",
        "db reachable": "refused",
    },
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_case_fails_in_its_own_checks_only_and_names_the_cause(harness, case):
    findings = case(harness)
    assert failures(findings) == set(CASES[case])
    for name, cause in CASES[case].items():
        assert cause in findings[name].what
        assert findings[name].fix.endswith(".")


def test_every_case_has_fixes_of_its_own(harness):
    fixes = set()
    for case in (revoked_token, missing_scope, bad_sendgrid_key, bad_smtp_password, all_unreachable):
        harness.sandbox.slack.auth_error = None
        harness.sandbox.slack.scopes = ("chat:write", "chat:write.public")
        harness.sandbox.smtp.credentials = None
        findings = case(harness)
        fixes.add(tuple(findings[name].fix for name in CASES[case]))
    assert len(fixes) == 5


def test_a_sandbox_and_a_migrated_database_are_all_well(harness):
    harness.sandbox.slack.scopes = ("chat:write", "chat:write.public", "channels:read", "users:read.email")
    store = Store(harness.environ()["DATABASE_URL"])
    upgrade(store)
    store.close()
    nothing_yet = {"db slack success", "db email success"}
    assert {name for name, outcome in outcomes(good(harness)).items() if outcome != "ok"} == nothing_yet


@pytest.mark.parametrize("by", ["smtp", "sendgrid"])
def test_nothing_is_sent_and_no_message_is_begun(harness, by):
    harness.sandbox.slack.scopes = ("chat:write", "channels:read")
    run_doctor(harness.environ(email=by), harness.folder)
    sandbox = harness.sandbox
    assert [sandbox.slack.messages, sandbox.sendgrid.messages, sandbox.smtp.messages, sandbox.smtp.calls] == [[]] * 4
    assert sorted(call.path for call in sandbox.slack.calls) == ["/api/auth.test", "/api/conversations.list"]
    assert [call.path for call in sandbox.sendgrid.calls] == (["/v3/scopes"] if by == "sendgrid" else [])


def test_the_findings_come_in_the_order_of_the_checks(harness):
    settings = load({"HOME": str(harness.folder), **harness.environ()}, harness.folder)
    assert list(good(harness)) == [f"{check.area} {check.name}" for check in checks_for(settings)]


@pytest.mark.parametrize(
    ("slack", "email", "expected"),
    [
        ("true", "false", {"slack enabled": "ok", "email enabled": "warning"}),
        ("false", "true", {"slack enabled": "warning", "email enabled": "ok"}),
        ("false", "false", {"slack enabled": "failure", "email enabled": "failure"}),
    ],
)
def test_one_channel_may_be_off_but_not_both(harness, slack, email, expected):
    findings = run_doctor(harness.environ(SLACK_ENABLED=slack, EMAIL_ENABLED=email), harness.folder)
    assert {name: findings[name].outcome for name in expected} == expected
    assert slack == "true" or [name for name in findings if name.startswith("slack")] == ["slack enabled"]
