"""`alertctl user`, `prefs` and `token`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from alertctl.cli.options import ROLES
from alertctl.db import Store
from alertctl.sandbox import Sandbox
from alertctl.users import Identity, Role, ensure_user
from tests.support.cases import each
from tests.support.cli import data, run

DEV = "dev@corp.example"


@pytest.fixture
def dev(log_on: str) -> str:
    return str(data("user", "add", DEV)["id"])


def test_roles_are_those_of_the_api():
    assert [role.lower() for role in ROLES] == [role.name.lower() for role in Role]


@pytest.mark.postgres
def test_a_user_is_added_listed_promoted_and_disabled(dev):
    assert data("user", "set-role", DEV.upper(), "developer")["role"] == "developer"
    assert data("user", "disable", dev)["disabled"] is True
    (item,) = data("user", "list")["items"]
    assert (item["email"], item["role"], item["disabled"]) == (DEV, "developer", True)
    shown = run("user", "list").stdout
    assert re.search(rf"{DEV} +developer +disabled", shown)


def test_a_user_gets_another_email_loses_an_identity_and_is_removed(dev):
    assert data("user", "set-email", DEV, "Dev@New.Example")["email"] == "dev@new.example"
    assert (data("user", "unlink", dev)["issuer"], data("user", "unlink", dev)["subject"]) == (None, None)
    assert run("user", "remove", "dev@new.example").exit_code == 0
    assert data("user", "list")["items"] == []


def test_the_list_shows_jwt_users_and_who_has_no_email(dev, log_on):
    store = Store(log_on)
    now = datetime.now(UTC)
    for email, subject in (("pat@corp.example", "u-1"), (None, "u-2")):
        identity = Identity("https://id.example", subject)
        store.write(lambda it, identity=identity, email=email: ensure_user(it, identity, email, now))
    store.close()
    (nameless,) = (item for item in data("user", "list")["items"] if item["email"] is None)
    assert (nameless["issuer"], nameless["subject"]) == ("https://id.example", "u-2")
    shown = run("user", "list").stdout
    assert re.search(r"^\(none\) +viewer", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 80
    assert run("user", "remove", nameless["id"]).exit_code == 0


def test_preferences_are_shown_and_changed_by_name(dev):
    changed = data("prefs", "set", "--user", DEV, "notify_on_rollout_advance=on", "slack_channel=#my-team")
    assert (changed["notify_on_rollout_advance"], changed["slack_channel"]) == (True, "#my-team")
    assert data("prefs", "get", "--user", dev) == changed
    shown = run("prefs", "get", "-u", DEV).stdout
    assert re.search(r"^slack_channel +#my-team$", shown, re.MULTILINE)
    assert re.search(r"^email_address +default$", shown, re.MULTILINE)
    run("prefs", "set", "-u", DEV, "slack_channel=none")
    assert re.search(r"^slack_channel +none$", run("prefs", "get", "-u", DEV).stdout, re.MULTILINE)
    assert re.search(r" none +default ", run("prefs", "list").stdout)
    run("prefs", "set", "-u", DEV, "slack_channel=#my-team")
    listed = run("prefs", "list").stdout
    assert "#my-team" in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert data("prefs", "list")["items"][0]["slack_channel"] == "#my-team"
    reset = data("prefs", "reset", "--user", DEV)
    assert (reset["notify_on_rollout_advance"], reset["slack_channel"]) == (False, None)


@pytest.mark.parametrize("word", ["", "default", "none", "NULL"])
def test_an_address_is_reset_to_its_default(dev, word):
    data("prefs", "set", "--user", DEV, "slack_channel=#my-team")
    assert data("prefs", "set", "--user", DEV, f"slack_channel={word}")["slack_channel"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("notify_on_rollout=on", "did you mean notify_on_rollout_advance?"),
        ("user_id=x", "is not a preference"),
        ("slack_enabled=perhaps", "'perhaps' is neither on nor off"),
        ("slack_enabled", "is not name=value"),
        ("slack_channel=two words", "slack_channel"),
        ("email_address=nobody", "email_address"),
    ],
)
def test_a_wrong_change_is_named(dev, change, message):
    ran = run("prefs", "set", "--user", DEV, change)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert message in ran.stderr


def test_routing_honours_preferences(dev, slack_and_email: Sandbox):
    run("prefs", "set", "--user", DEV, "slack_channel=#my-team", "email_enabled=off")
    run("send", "--event", "safety_rollback")
    assert {message.channel for message in slack_and_email.slack.messages} == {"#platform-alerts", "#my-team"}
    assert [message.rcpt_tos for message in slack_and_email.smtp.messages] == [["admin@corp.example"]]


def test_a_token_is_printed_once_alone_on_stdout(log_on):
    made = run("token", "create", "--user", DEV, "--role", "developer", "--expires", "90d")
    assert re.fullmatch(r"actl_[\w-]{32,}\n", made.stdout)
    assert "it is not shown again" in made.stderr
    secret = made.stdout.strip()
    (item,) = data("token", "list")["items"]
    assert (item["user"], item["role"], secret.endswith(item["hint"])) == (DEV, "developer", True)
    everything = run("token", "list").stdout + json.dumps(item)
    assert secret not in everything
    revoked = data("token", "revoke", item["id"][-8:])
    assert revoked["revoked_at"] is not None
    assert " revoked " in run("token", "list").stdout


def test_a_token_as_json_carries_its_secret(log_on):
    made = data("token", "create", "--user", DEV, "--role", "viewer")
    assert made["token"].startswith("actl_")
    assert made["expires_at"] is None


@each(
    ("arguments", "message"),
    [
        (["token", "create", "--user", DEV, "--role", "boss"], "'boss' is not a role"),
        (["token", "create", "--user", DEV, "--role", "develper"], "did you mean developer?"),
        (["token", "create", "--user", DEV, "--role", "admin", "--expires", "soon"], "--expires"),
        (["token", "create", "--user", DEV, "--role", "admin", "--expires", "0d"], "--expires"),
        (["token", "create", "--user", DEV, "--role", "admin", "--expires", "99999999d"], "--expires"),
        (["token", "create", "--user", DEV], "give either --role or --scope publish"),
        (["token", "revoke", "ffffffff"], "ffffffff"),
        (["user", "add", "nobody"], "nobody"),
        (["user", "disable", "nobody@corp.example"], "nobody@corp.example"),
        (["user", "set-email", "nobody@corp.example", DEV], "nobody@corp.example"),
        (["user", "unlink", "nobody@corp.example"], "nobody@corp.example"),
        (["user", "remove", "nobody@corp.example"], "nobody@corp.example"),
        (["prefs", "get", "--user", "nobody@corp.example"], "nobody@corp.example"),
        (["prefs", "get"], "--user: is required without a server, because no token says who you are"),
        (["prefs", "list", "--limit", "101"], "'--limit'"),
    ],
)
def test_a_mistake_ends_with_2_and_names_it(arguments, message):
    ran = run(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_user_has_only_an_address_that_the_recipient_policy_allows(dev, monkeypatch):
    monkeypatch.setenv("ALERTCTL_ALLOWED_EMAIL_DOMAINS", "corp.example")
    for command in (
        ("user", "add", "dev@gmail.example"),
        ("user", "set-email", DEV, "dev@gmail.example"),
        ("token", "create", "--user", "dev@gmail.example", "--role", "viewer"),
    ):
        refused = run(*command)
        assert (refused.exit_code, "ALERTCTL_ALLOWED_EMAIL_DOMAINS" in refused.stderr) == (2, True)
    assert [user["email"] for user in data("user", "list")["items"]] == [DEV]
