"""Slack messages are complete, within Slack's limits, and escape hostile text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alertctl.channels import OutgoingMessage, Receipt
from alertctl.channels.slack.blocks import slack_message
from alertctl.content import Content, Field, Severity
from alertctl.sandbox import Sandbox
from alertctl.text import width
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import NASTY, content, contents
from tests.support.providers import ALERT, harnesses


def texts(value: Any) -> Iterator[str]:
    """Every string that Slack would show or follow."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("type", "action_id"):
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def assert_within_limits(message: dict[str, Any]) -> None:
    json.dumps(message, allow_nan=False).encode()
    blocks = message.get("blocks", [])
    shown = [message["text"], *texts(blocks)]
    assert 1 <= width(message["text"]) <= 4000
    assert len(blocks) <= 50
    assert sum(map(width, shown)) <= 10_000
    for block in blocks:
        assert_block_within_limits(block)
    for text in shown:
        text.encode("utf-8")


def assert_block_within_limits(block: dict[str, Any]) -> None:
    if block["type"] == "header":
        assert 1 <= width(block["text"]["text"]) <= 150
    if block["type"] == "section" and "text" in block:
        assert 1 <= width(block["text"]["text"]) <= 3000
    fields = block.get("fields", [])
    assert len(fields) <= 10
    assert all(1 <= width(field["text"]) <= 2000 for field in fields)
    if block["type"] == "actions":
        (button,) = block["elements"]
        assert width(button["text"]["text"]) <= 75
        assert width(button["url"]) <= 3000
        assert button["url"].lower().startswith(("http://", "https://"))


def assert_inert(message: dict[str, Any]) -> None:
    """No mention, no link, no half entity: `<` and `>` never stand for themselves, every `&` begins an entity."""
    urls = {block["elements"][0]["url"] for block in message.get("blocks", []) if block["type"] == "actions"}
    for text in [message["text"], *texts(message.get("blocks", []))]:
        if text in urls:
            assert not set("<>\"' \n\\") & set(text) - {"'"}
            continue
        assert "<" not in text
        assert ">" not in text
        rest = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in rest


@fixed_examples(250)
@given(contents(), st.booleans())
@example(content(*["<!channel>&" * 4000] * 4), False)
@example(content(*["\U0001f600" * 4000] * 4), False)
@example(content(*["\ud83d" * 4000] * 4), False)
@example(content(*[""] * 4), True)
def test_hostile_and_endless_content_stays_within_limits_and_inert(alert: Content, plain: bool) -> None:
    message = slack_message(alert, OutgoingMessage("delivery-1", "#alerts", plain=plain))
    assert_within_limits(message)
    assert_inert(message)


@pytest.mark.parametrize("nasty", NASTY)
def test_the_sandbox_accepts_hostile_text_in_every_field(sandbox: Sandbox, nasty: str) -> None:
    channel = harnesses(sandbox)["slack"].channel()
    alert = content(nasty, nasty, nasty, nasty)
    for plain in (False, True):
        result = channel.send(alert, [OutgoingMessage("delivery-1", "#alerts", plain)])[0]
        assert isinstance(result, Receipt), result
    channel.close()


def test_a_message_has_header_summary_fields_button_and_small_print() -> None:
    message = slack_message(ALERT.with_notes("This is a test"), OutgoingMessage("delivery-1", "#alerts"))
    assert [block["type"] for block in message["blocks"]] == ["header", "section", "section", "actions", "context"]
    header, summary, fields, actions, context = message["blocks"]
    assert header["text"]["text"] == "🚨 Critical: Safety rollback: checkout-v3"
    assert summary["text"]["text"] == ALERT.summary
    assert [field["text"] for field in fields["fields"]] == ["*Environment*\nproduction", "*Metric*\nerror_rate"]
    assert actions["elements"][0]["url"] == ALERT.link
    assert context["elements"][0]["text"] == "This is a test · safety_rollback · 2026-03-02 14:32 UTC"


def test_the_fallback_text_is_a_full_sentence() -> None:
    text = slack_message(ALERT, OutgoingMessage("delivery-1", "#alerts"))["text"]
    assert text == f"🚨 Critical: Safety rollback: checkout-v3. {ALERT.summary}"


@pytest.mark.parametrize(
    ("title", "summary"), [("Disk full", "Disk full."), ("Really?", "Really?"), ("満杯。", "満杯。")]
)
def test_the_fallback_text_says_a_bare_title_once(title: str, summary: str) -> None:
    text = slack_message(replace(ALERT, title=title, summary=summary), OutgoingMessage("delivery-1", "#alerts"))["text"]
    assert text.count(title) == 1
    assert not text.endswith(("..", "?.", "。."))


@pytest.mark.parametrize("severity", list(Severity))
def test_severity_is_shown_as_a_word_and_a_symbol(severity: Severity) -> None:
    message = slack_message(replace(ALERT, severity=severity), OutgoingMessage("delivery-1", "#alerts"))
    assert severity.value.capitalize() in message["text"]
    assert not message["text"].isascii()


def test_the_plain_variant_is_text_only_and_says_everything() -> None:
    message = slack_message(ALERT, OutgoingMessage("delivery-1", "#alerts", plain=True))
    assert "blocks" not in message
    assert message["mrkdwn"] is False
    for part in (ALERT.title, ALERT.summary, "Environment: production", "safety_rollback"):
        assert part in message["text"]


def test_more_than_ten_fields_are_counted() -> None:
    many = replace(ALERT, fields=tuple(Field(f"n{i}", "v") for i in range(13)))
    message = slack_message(many, OutgoingMessage("delivery-1", "#alerts"))
    assert len(message["blocks"][2]["fields"]) == 10
    assert message["blocks"][-1]["elements"][0]["text"].startswith("+3 more · ")


def test_ten_endless_fields_share_the_remaining_length() -> None:
    many = replace(ALERT, fields=tuple(Field(f"n{i}", "v" * 5000) for i in range(10)))
    fields = slack_message(many, OutgoingMessage("delivery-1", "#alerts"))["blocks"][2]["fields"]
    assert all(len(field["text"]) > 800 for field in fields)
    assert all(field["text"].endswith("…") for field in fields)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "http://", "//x", ""]
)
def test_a_link_that_is_not_http_is_dropped(link: str) -> None:
    blocks = slack_message(replace(ALERT, link=link), OutgoingMessage("delivery-1", "#alerts"))["blocks"]
    assert "actions" not in [block["type"] for block in blocks]


def test_a_link_too_long_for_a_button_is_reported_as_missing() -> None:
    blocks = slack_message(replace(ALERT, link="https://x.example/" + "a" * 3000), OutgoingMessage("delivery-1", "#a"))[
        "blocks"
    ]
    assert "actions" not in [block["type"] for block in blocks]
    assert "link too long" in blocks[-1]["elements"][0]["text"]


def test_the_delivery_id_travels_with_the_message(sandbox: Sandbox) -> None:
    harnesses(sandbox)["slack"].send()
    payload = sandbox.slack.messages[0].payload
    assert payload["metadata"]["event_payload"] == {"delivery_id": "delivery-1"}


def test_render_returns_the_message_that_is_sent(sandbox: Sandbox) -> None:
    channel = harnesses(sandbox)["slack"].channel()
    channel.send(ALERT, [OutgoingMessage("delivery-1", "#alerts")])
    assert sandbox.slack.messages[0].payload == channel.render(ALERT, OutgoingMessage("delivery-1", "#alerts"))  # type: ignore[attr-defined]
    channel.close()
