"""The doctor's findings about Slack."""

from __future__ import annotations

import json

import pytest

from alertctl import preferences, users
from alertctl.db import Store, upgrade
from tests.support.doctor import NOW, failures, outcomes

ALL = ("chat:write", "chat:write.public", "channels:read", "groups:read")


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ("xoxb-sandbox-token", "ok"),
        ("xoxe.xoxb-1-rotated-token", "ok"),
        ("xoxp-somebodys-token", "warning"),
        ("whatever", "warning"),
        ("xapp-1-app-token", "failure"),
        ("", "failure"),
    ],
)
def test_a_token_is_judged_by_its_shape(harness, token, outcome):
    finding = harness.slack(SLACK_BOT_TOKEN=token)["token"]
    assert finding.outcome == outcome
    assert "SLACK_BOT_TOKEN" in finding.what + finding.fix or outcome == "ok"
    assert token == "" or token not in finding.what + finding.fix


def test_without_a_token_slack_is_not_asked(harness):
    findings = outcomes(harness.slack(SLACK_BOT_TOKEN=""))
    assert [name for name, outcome in findings.items() if outcome == "failure"] == ["token"]
    assert [findings[name] for name in ("auth.test", "chat:write", "default channel")] == ["unknown"] * 3
    assert harness.sandbox.slack.connections == 0


def test_auth_test_shows_the_team_and_the_bot(harness):
    assert harness.slack()["auth.test"].what == "team Sandbox, bot alertctl, https://sandbox.slack.example/"


@pytest.mark.parametrize("code", ["invalid_auth", "account_inactive", "token_expired", "team_access_not_granted"])
def test_a_refusal_is_named_with_slacks_own_word(harness, code):
    harness.sandbox.slack.auth_error = code
    findings = harness.slack()
    assert failures(findings) == {"auth.test"}
    assert findings["auth.test"].what == f"Slack answered {code}"
    assert "SLACK_API_URL" not in findings["auth.test"].fix


@pytest.mark.parametrize("fault", ["http_503", "http_500", "429:30", "slack:service_unavailable", "slack:ratelimited"])
def test_an_outage_or_a_rate_limit_is_not_our_fault(harness, fault):
    harness.sandbox.slack.faults.always(fault)
    finding = harness.slack()["auth.test"]
    assert finding.outcome == "unknown"
    assert finding.fix.startswith("Run alertctl doctor again")


@pytest.mark.parametrize(
    "fault",
    [
        "redirect_302:http://login.example/",
        "redirect_307:http://login.example/",
        r"raw:HTTP/1.1 401 No\r\n\r\n<html>Log in</html>",
        r"raw:HTTP/1.1 403 No\r\n\r\n<html>Blocked</html>",
    ],
)
def test_the_page_of_another_server_is_no_outage_of_slack(harness, fault):
    harness.sandbox.slack.faults.always(fault)
    finding = harness.slack()["auth.test"]
    assert (finding.outcome, finding.fix.startswith("Correct SLACK_API_URL")) == ("failure", True)


@pytest.mark.parametrize(
    "fault",
    ["html_200", "empty_200", "reply:[]", 'reply:{"ok":"true"}', "redirect_302:http://127.0.0.1/", "rst", "raw:x"],
)
def test_an_answer_that_is_not_slacks_is_never_ok(harness, fault):
    harness.sandbox.slack.faults.always(fault)
    assert harness.slack()["auth.test"].outcome in ("failure", "unknown")


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_json_that_is_nested_too_deeply_is_no_answer(harness, deep):
    harness.sandbox.slack.faults.always(f"reply:{deep}")
    assert failures(harness.slack()) == {"auth.test"}


@pytest.mark.parametrize(
    ("scopes", "public", "channel"),
    [
        (ALL, "ok", "ok"),
        (("chat:write", "channels:read"), "ok", "ok"),
        (("chat:write", "chat:write.public"), "ok", "unknown"),
        (("chat:write",), "warning", "unknown"),
    ],
)
def test_chat_write_public_is_needed_only_where_the_bot_is_no_member(harness, scopes, public, channel):
    harness.sandbox.slack.scopes = scopes
    findings = outcomes(harness.slack())
    assert (findings["chat:write"], findings["chat:write.public"], findings["default channel"]) == (
        "ok",
        public,
        channel,
    )


@pytest.mark.parametrize(
    ("channel", "scopes", "outcome", "word"),
    [
        ("#archived", ALL, "failure", "is_archived"),
        ("#private", ALL, "failure", "not_in_channel"),
        ("General", ALL, "ok", "member"),
        ("#nowhere", ALL, "failure", "channel_not_found"),
        ("#nowhere", ALL[:3], "unknown", "groups:read"),
        ("C0123456789", ALL, "failure", "channel_not_found"),
        ("C0123456789", ALL[:3], "unknown", "groups:read"),
        ("#general", ("channels:read",), "unknown", "chat:write"),
    ],
)
def test_the_default_channel_is_looked_up_as_far_as_the_scopes_allow(harness, channel, scopes, outcome, word):
    harness.sandbox.slack.scopes = scopes
    finding = harness.slack(SLACK_DEFAULT_CHANNEL=channel)["default channel"]
    assert (finding.outcome, word in finding.what) == (outcome, True)


@pytest.mark.parametrize(
    ("channel", "outcome"),
    [
        ({"name": "x", "is_member": False}, "ok"),
        ({"name": "x", "is_member": False, "is_private": True}, "failure"),
        ({"name": "x", "is_member": True, "is_private": True}, "ok"),
        ({"name": "y", "is_member": True}, "failure"),
        ("x", "failure"),
    ],
)
def test_a_public_channel_needs_no_membership_a_private_one_does(harness, channel, outcome):
    harness.sandbox.slack.scopes = ALL
    harness.sandbox.slack.faults.then("ok", f"reply:{json.dumps({'ok': True, 'channels': [channel]})}")
    assert harness.slack(SLACK_DEFAULT_CHANNEL="#x")["default channel"].outcome == outcome


def test_a_channel_on_a_later_page_is_recognized(harness):
    harness.sandbox.slack.scopes = ALL
    more = json.dumps({"ok": True, "channels": [], "response_metadata": {"next_cursor": "dXNlcj1="}})
    harness.sandbox.slack.faults.then("ok", f"reply:{more}", f"reply:{more}", "ok")
    assert harness.slack()["default channel"].outcome == "ok"
    assert "cursor=dXNlcj1%3D" in harness.sandbox.slack.calls[-1].body.decode()


def test_an_endless_list_is_abandoned(harness):
    harness.sandbox.slack.scopes = ALL
    more = json.dumps({"ok": True, "channels": [], "response_metadata": {"next_cursor": "again"}})
    harness.sandbox.slack.faults.then("ok", *[f"reply:{more}"] * 50)
    assert harness.slack()["default channel"].outcome == "unknown"
    assert len(harness.sandbox.slack.calls) < 20


def test_scopes_that_slack_does_not_name_are_not_missing(harness):
    body = '{"ok":true,"team":"T","user":"u","url":"https://t/"}'
    answer = f"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}"
    harness.sandbox.slack.faults.always(f"raw:{answer}")
    findings = outcomes(harness.slack())
    assert findings["auth.test"] == "ok"
    assert [findings[name] for name in ("chat:write", "chat:write.public", "default channel")] == ["unknown"] * 3


@pytest.mark.parametrize(("host", "outcome"), [("192.0.2.1:9", "failure"), ("no-such-host-in-this-network", "warning")])
def test_an_api_address_that_would_carry_the_token_in_clear_is_reported(harness, host, outcome):
    findings = harness.slack(SLACK_API_URL=f"http://{host}/api/")
    assert findings["settings"].outcome == outcome
    assert findings["auth.test"].outcome == "failure"
    # Nothing is sent to a public address.
    assert ("uses http" in findings["auth.test"].what) == (outcome == "failure")


def test_the_scope_of_look_ups_is_a_warning_until_somebody_needs_it(harness):
    harness.sandbox.slack.scopes = ALL
    assert harness.slack()["users:read.email"].outcome == "warning"
    store = Store(harness.environ()["DATABASE_URL"])
    upgrade(store)
    user = store.write(lambda it: users.add_user(it, "ana@corp.example", "viewer", NOW)).id
    assert harness.slack()["users:read.email"].outcome == "warning"

    store.write(lambda it: preferences.update(it, user, {"slack_channel": "@me"}, NOW))
    finding = harness.slack()["users:read.email"]
    assert (finding.outcome, finding.what.endswith("needed by the preferences of 1 user")) == ("failure", True)
    assert "Add the scope users:read.email" in finding.fix

    store.write(lambda it: users.change_user(it, user, disabled=True))
    assert harness.slack()["users:read.email"].outcome == "warning"
    harness.sandbox.slack.scopes = (*ALL, "users:read.email")
    assert harness.slack()["users:read.email"].outcome == "ok"
    store.close()


ROUTES = """
[[routes]]
name = "payments"
match.feature_flag = "checkout-*"
to = ["slack:#pay", "email:pay@corp.example"]
mention = {payments}

[[routes]]
name = "lead"
match.severity = "critical"
to = [{lead}]
"""


@pytest.mark.parametrize(
    ("payments", "lead", "mention", "needed_by"),
    [
        ([], '"slack:#lead"', "", ""),
        (["S0123456789"], '"slack:U0123456789"', "S0123456789", ""),
        (["ana@corp.example"], '"slack:#lead"', "", "route payments"),
        ([], '"slack:@ana@corp.example"', "", "route lead"),
        (
            ["bo@corp.example"],
            '"slack:@ana@corp.example"',
            "ana@corp.example",
            "SLACK_MENTION, route payments, route lead",
        ),
    ],
)
def test_the_scope_of_look_ups_is_needed_by_settings_and_routes(harness, payments, lead, mention, needed_by):
    harness.sandbox.slack.scopes = ALL
    (harness.folder / "alertctl.toml").write_text(ROUTES.format(payments=json.dumps(payments), lead=lead))
    finding = harness.slack(SLACK_MENTION=mention)["users:read.email"]
    assert finding.outcome == ("failure" if needed_by else "warning")
    assert finding.what.endswith(f"needed by {needed_by}" if needed_by else "do not work")
