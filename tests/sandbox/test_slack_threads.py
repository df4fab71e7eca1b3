"""The sandbox's Slack: replies in threads, edits, deleted messages."""

from __future__ import annotations

import pytest

from alertctl.sandbox import Sandbox
from tests.support.sandbox_clients import post_message, send_one_request

HEADER = {"type": "header", "text": {"type": "plain_text", "text": "Rollback"}}


def update(sandbox: Sandbox, **arguments: object) -> dict[str, object]:
    reply = send_one_request(sandbox.slack_api_url, "/api/chat.update", arguments, key=sandbox.slack.token)
    body: dict[str, object] = reply.json
    return body


def post(sandbox: Sandbox, **arguments: object) -> dict[str, object]:
    body: dict[str, object] = post_message(sandbox, "#ops", text="x", **arguments).json
    return body


def test_a_reply_names_its_thread_and_may_be_broadcast(sandbox: Sandbox) -> None:
    root = post(sandbox)
    reply = post(sandbox, thread_ts=root["ts"], reply_broadcast=True)
    assert reply["message"]["thread_ts"] == root["ts"]
    first, second = sandbox.slack.messages
    assert (first.thread_ts, second.thread_ts, second.broadcast) == (None, root["ts"], True)
    assert (first.label, second.label) == ("", "reply in a thread, also in the channel")


def test_a_channel_is_recorded_by_the_name_of_its_id(sandbox: Sandbox) -> None:
    root = post(sandbox)
    post_message(sandbox, root["channel"], text="x", thread_ts=root["ts"])
    assert [message.channel for message in sandbox.slack.messages] == ["#ops", "#ops"]


def test_a_reply_to_a_message_that_does_not_exist_is_posted_at_top_level(sandbox: Sandbox) -> None:
    reply = post(sandbox, thread_ts="1700000000.000001")
    assert reply["ok"] is True
    assert "thread_ts" not in reply["message"]


def test_a_reply_to_a_deleted_message_is_posted_at_top_level(sandbox: Sandbox) -> None:
    root = post(sandbox)
    sandbox.slack.delete_message(sandbox.slack.messages[0])
    assert "thread_ts" not in post(sandbox, thread_ts=root["ts"])["message"]


def test_a_deleted_root_with_replies_leaves_a_tombstone_that_takes_replies_but_no_edit(sandbox: Sandbox) -> None:
    root = post(sandbox)
    post(sandbox, thread_ts=root["ts"])
    sandbox.slack.delete_message(sandbox.slack.messages[0])
    assert post(sandbox, thread_ts=root["ts"])["message"]["thread_ts"] == root["ts"]
    assert update(sandbox, channel=root["channel"], ts=root["ts"], text="y")["error"] == "message_not_found"


def test_an_edit_is_kept_beside_the_message(sandbox: Sandbox) -> None:
    root = post(sandbox)
    answer = update(sandbox, channel=root["channel"], ts=root["ts"], text="new", blocks=[HEADER])
    assert (answer["ok"], answer["ts"], answer["text"]) == (True, root["ts"], "new")
    (message,) = sandbox.slack.messages
    assert (message.text, message.current.text, message.current.blocks) == ("x", "new", [HEADER])
    assert sandbox.slack.edits == message.edits


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"ts": "1.1", "text": "x"}, "channel_not_found"),
        ({"channel": "#ops", "ts": "1.1", "text": "x"}, "message_not_found"),
        ({"channel": "#ops", "ts": "1.1"}, "no_text"),
        ({"channel": "#ops", "ts": "1.1", "blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
    ],
)
def test_an_edit_is_checked_as_slack_checks_it(sandbox: Sandbox, arguments: dict[str, object], code: str) -> None:
    assert update(sandbox, **arguments)["error"] == code


def test_a_fault_can_apply_to_edits_alone(sandbox: Sandbox) -> None:
    sandbox.slack.faults.at("chat.update", "slack:cant_update_message")
    root = post(sandbox)
    assert root["ok"] is True
    assert update(sandbox, channel=root["channel"], ts=root["ts"], text="y")["error"] == "cant_update_message"
    assert sandbox.slack.messages[0].edits == []
