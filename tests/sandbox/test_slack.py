from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from alertctl.sandbox import Sandbox
from tests.support.sandbox_clients import connect, post_message, send_one_request, send_request

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
HEADER = {"type": "header", "text": {"type": "plain_text", "text": "Rollback"}}


def test_a_message_is_taken_and_can_be_looked_at(sandbox: Sandbox) -> None:
    reply = post_message(sandbox, "#platform-alerts", text="down", blocks=[HEADER])

    (message,) = sandbox.slack.messages
    assert reply.json["ok"] is True
    assert reply.json["ts"] == message.ts
    assert (message.channel, message.text, message.blocks) == ("#platform-alerts", "down", [HEADER])
    assert message.headers["authorization"] == f"Bearer {sandbox.slack.token}"
    assert message.at.tzinfo is not None


def test_a_form_is_understood_as_well_as_json(sandbox: Sandbox) -> None:
    form = urlencode({"token": sandbox.slack.token, "channel": "#a", "text": "grün", "blocks": json.dumps([HEADER])})

    reply = send_one_request(sandbox.slack_api_url, "/api/chat.postMessage", form.encode(), headers=FORM)

    (message,) = sandbox.slack.messages
    assert reply.json["ok"] is True
    assert (message.text, message.blocks) == ("grün", [HEADER])
    assert "token" not in message.payload


def test_every_ts_is_another_one(sandbox: Sandbox) -> None:
    connection = connect(sandbox.slack_api_url)
    for _ in range(200):
        body = {"channel": "#a", "text": "x"}
        assert send_request(connection, "/api/chat.postMessage", body, key=sandbox.slack.token).json["ok"]
    connection.close()

    stamps = [message.ts for message in sandbox.slack.messages]
    assert len(set(stamps)) == 200
    assert stamps == sorted(stamps)
    assert sandbox.slack.connections == 1


def test_auth_test_names_the_team_and_the_scopes(sandbox: Sandbox) -> None:
    reply = send_one_request(sandbox.slack_api_url, "/api/auth.test", {}, key=sandbox.slack.token)

    assert reply.json["ok"] is True
    assert reply.json["team"] == "Sandbox"
    assert reply.headers["x-oauth-scopes"] == "chat:write,chat:write.public,users:read,users:read.email"


@pytest.mark.parametrize(("key", "code"), [("", "not_authed"), ("xoxb-other", "invalid_auth")])
def test_without_the_right_token_nothing_is_taken(sandbox: Sandbox, key: str, code: str) -> None:
    reply = send_one_request(sandbox.slack_api_url, "/api/chat.postMessage", {"channel": "#a", "text": "x"}, key=key)

    assert reply.status == 200
    assert reply.json == {"ok": False, "error": code}
    assert sandbox.slack.messages == []
    assert len(sandbox.slack.calls) == 1


def test_a_revoked_token_is_called_revoked(sandbox: Sandbox) -> None:
    sandbox.slack.auth_error = "token_revoked"
    assert post_message(sandbox).json["error"] == "token_revoked"

    sandbox.slack.auth_error = None
    assert post_message(sandbox).json["ok"] is True


def test_a_missing_scope_is_named(sandbox: Sandbox) -> None:
    sandbox.slack.scopes = ("users:read",)

    answer = post_message(sandbox).json

    assert (answer["error"], answer["needed"], answer["provided"]) == ("missing_scope", "chat:write", "users:read")


def look_up(sandbox: Sandbox, email: str) -> Any:
    arguments = {"email": email}
    path = "/api/users.lookupByEmail"
    return send_one_request(sandbox.slack_api_url, path, arguments, key=sandbox.slack.token).json


def test_everybody_has_an_id_of_their_own_but_nobody(sandbox: Sandbox) -> None:
    ana, bo = (look_up(sandbox, email)["user"]["id"] for email in ("Ana@corp.example", "bo@corp.example"))
    assert ana != bo
    assert look_up(sandbox, "ana@corp.example")["user"]["id"] == ana
    assert look_up(sandbox, "nobody@corp.example") == {"ok": False, "error": "users_not_found"}
    assert look_up(sandbox, "ana")["error"] == "users_not_found"
    sandbox.slack.people |= {"ana@corp.example": "U0000000001", "bo@corp.example": None}
    assert look_up(sandbox, "ana@corp.example")["user"]["id"] == "U0000000001"
    assert look_up(sandbox, "bo@corp.example")["error"] == "users_not_found"


def test_a_look_up_needs_a_scope_and_has_faults_by_method_and_email(sandbox: Sandbox) -> None:
    sandbox.slack.faults.at("users.lookupByEmail", "slack:fatal_error")
    sandbox.slack.faults.at("ana@corp.example", "slack:internal_error")
    assert look_up(sandbox, "bo@corp.example")["error"] == "fatal_error"
    assert post_message(sandbox).json["ok"] is True
    sandbox.slack.faults.clear()
    sandbox.slack.faults.at("ana@corp.example", "slack:internal_error")
    assert look_up(sandbox, "ana@corp.example")["error"] == "internal_error"
    sandbox.slack.scopes = ("chat:write",)
    answer = look_up(sandbox, "bo@corp.example")
    assert (answer["error"], answer["needed"]) == ("missing_scope", "users:read.email")


def test_a_message_to_a_user_is_in_a_channel_of_direct_messages(sandbox: Sandbox) -> None:
    first, other = (
        post_message(sandbox, channel=channel).json["channel"] for channel in ("U0123456789", "W0123456789")
    )
    assert first.startswith("D")
    assert other.startswith("D")
    assert first != other


def test_conversations_need_the_scope_channels_read(sandbox: Sandbox) -> None:
    def call(method: str, **arguments: Any) -> Any:
        return send_one_request(sandbox.slack_api_url, f"/api/{method}", arguments, key=sandbox.slack.token).json

    assert call("conversations.list")["error"] == "missing_scope"
    sandbox.slack.scopes = ("chat:write", "channels:read")
    listed = call("conversations.list")["channels"]

    assert "platform-alerts" in [channel["name"] for channel in listed]
    assert call("conversations.info", channel=listed[0]["id"])["channel"] == listed[0]
    assert call("conversations.info", channel="C0000000000")["error"] == "channel_not_found"


@pytest.mark.parametrize(
    ("channel", "code"),
    [("#missing", "channel_not_found"), ("#archived", "is_archived"), ("#Private", "not_in_channel")],
)
def test_built_in_channels_are_always_refused(sandbox: Sandbox, channel: str, code: str) -> None:
    for _ in range(2):
        assert post_message(sandbox, channel).json["error"] == code


def test_a_flaky_channel_fails_once_and_then_works(sandbox: Sandbox) -> None:
    assert [post_message(sandbox, "#flaky").status for _ in range(3)] == [503, 200, 200]
    assert len(sandbox.slack.messages) == 2


@pytest.mark.parametrize("channel", ["", "#", "#With Blank", "#UPPER", "#" + "x" * 81, "a.b", None, 7])
def test_an_invalid_channel_gets_an_error(sandbox: Sandbox, channel: Any) -> None:
    assert post_message(sandbox, channel).json["error"] == "channel_not_found"


@pytest.mark.parametrize("channel", ["#general", "general", "C0123ABCDE", "U0123ABCDE", "#größe_1-a"])
def test_names_and_ids_are_channels(sandbox: Sandbox, channel: str) -> None:
    assert post_message(sandbox, channel).json["ok"] is True
    assert sandbox.slack.messages[0].channel == channel


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"text": ""}, "no_text"),
        ({"text": " \n"}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": "not json"}, "invalid_blocks_format"),
        ({"blocks": {"type": "divider"}}, "invalid_blocks_format"),
    ],
)
def test_a_message_that_slack_would_refuse_is_refused(sandbox: Sandbox, changes: dict[str, Any], code: str) -> None:
    assert post_message(sandbox, **changes).json["error"] == code
    assert sandbox.slack.messages == []


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"{", "invalid_json"),
        ("application/json", b'{"text": NaN}', "invalid_json"),
        ("application/json", b"[1]", "json_not_object"),
        ("application/json", b"[" * 100_000, "invalid_json"),
        ("text/plain", b"hello", "invalid_post_type"),
        ("application/json; charset=klingon", b"{}", "invalid_charset"),
        ("application/x-www-form-urlencoded", b"text=\xff", "invalid_form_data"),
    ],
)
def test_a_body_that_can_not_be_read_is_named(sandbox: Sandbox, content_type: str, body: bytes, code: str) -> None:
    headers = {"Content-Type": content_type}

    reply = send_one_request(
        sandbox.slack_api_url, "/api/chat.postMessage", body, key=sandbox.slack.token, headers=headers
    )

    assert reply.json["error"] == code


def test_an_unknown_method_and_a_path_outside_the_api_have_different_answers(sandbox: Sandbox) -> None:
    assert send_one_request(sandbox.slack_api_url, "/api/chat.shout", {}).json["error"] == "unknown_method"
    assert send_one_request(sandbox.slack_api_url, "/elsewhere", {}).status == 404
