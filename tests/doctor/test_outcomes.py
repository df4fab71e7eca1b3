"""The doctor's whole report for the cases that people meet, over real sockets."""

from __future__ import annotations

import pytest

from alertctl.db import Store, upgrade
from alertctl.doctor import CHECKS
from doctor.clinic import Clinic, Findings, examined, failures, nobody, outcomes

PASSWORD = "a-wrong-password"


def good(clinic: Clinic) -> Findings:
    return examined(clinic.environ(), clinic.folder)


def revoked_token(clinic: Clinic) -> Findings:
    clinic.sandbox.slack.auth_error = "token_revoked"
    return good(clinic)


def missing_scope(clinic: Clinic) -> Findings:
    clinic.sandbox.slack.scopes = ("chat:write.public",)
    return good(clinic)


def bad_sendgrid_key(clinic: Clinic) -> Findings:
    return examined(clinic.environ(email="sendgrid", SENDGRID_API_KEY="SG.not.ours"), clinic.folder)


def bad_smtp_password(clinic: Clinic) -> Findings:
    clinic.sandbox.smtp.credentials = ("alertctl", "the-right-password")
    return examined(clinic.environ(SMTP_PASSWORD=PASSWORD), clinic.folder)


def all_unreachable(clinic: Clinic) -> Findings:
    with nobody() as port:
        away = {
            "SLACK_API_URL": f"http://127.0.0.1:{port}/api/",
            "SMTP_PORT": str(port),
            "DATABASE_URL": f"postgresql://alertctl:{PASSWORD}@127.0.0.1:{port}/alertctl",
        }
        return examined(clinic.environ(**away), clinic.folder)


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
def test_a_case_fails_in_its_own_checks_only_and_names_the_cause(clinic, case):
    found = case(clinic)
    assert failures(found) == set(CASES[case])
    for name, cause in CASES[case].items():
        assert cause in found[name].what
        assert found[name].fix.endswith(".")


def test_every_case_has_fixes_of_its_own(clinic):
    fixes = set()
    for case in (revoked_token, missing_scope, bad_sendgrid_key, bad_smtp_password, all_unreachable):
        clinic.sandbox.slack.auth_error = None
        clinic.sandbox.slack.scopes = ("chat:write", "chat:write.public")
        clinic.sandbox.smtp.credentials = None
        found = case(clinic)
        fixes.add(tuple(found[name].fix for name in CASES[case]))
    assert len(fixes) == 5


def test_a_sandbox_and_a_migrated_database_are_all_well(clinic):
    clinic.sandbox.slack.scopes = ("chat:write", "chat:write.public", "channels:read")
    store = Store(clinic.environ()["DATABASE_URL"])
    upgrade(store)
    store.close()
    nothing_yet = {"db slack success", "db email success"}
    assert {name for name, outcome in outcomes(good(clinic)).items() if outcome != "ok"} == nothing_yet


@pytest.mark.parametrize("by", ["smtp", "sendgrid"])
def test_nothing_is_sent_and_no_message_is_begun(clinic, by):
    clinic.sandbox.slack.scopes = ("chat:write", "channels:read")
    examined(clinic.environ(email=by), clinic.folder)
    sandbox = clinic.sandbox
    assert [sandbox.slack.messages, sandbox.sendgrid.messages, sandbox.smtp.messages, sandbox.smtp.calls] == [[]] * 4
    assert sorted(call.path for call in sandbox.slack.calls) == ["/api/auth.test", "/api/conversations.list"]
    assert [call.path for call in sandbox.sendgrid.calls] == (["/v3/scopes"] if by == "sendgrid" else [])


def test_the_findings_come_in_the_order_of_the_registry(clinic):
    found = good(clinic)
    order = [f"{check.area} {check.name}" for check in CHECKS]
    assert list(found) == [name for name in order if name in found]


@pytest.mark.parametrize(
    ("slack", "email", "expected"),
    [
        ("true", "false", {"slack enabled": "ok", "email enabled": "warning"}),
        ("false", "true", {"slack enabled": "warning", "email enabled": "ok"}),
        ("false", "false", {"slack enabled": "failure", "email enabled": "failure"}),
    ],
)
def test_one_channel_may_be_off_but_not_both(clinic, slack, email, expected):
    found = examined(clinic.environ(SLACK_ENABLED=slack, EMAIL_ENABLED=email), clinic.folder)
    assert {name: found[name].outcome for name in expected} == expected
    assert slack == "true" or [name for name in found if name.startswith("slack")] == ["slack enabled"]
