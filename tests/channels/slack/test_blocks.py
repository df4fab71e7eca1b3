"""Slack messages are complete, within Slack's limits, and escape hostile text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alertctl.channels.base import DEFAULT_OPTIONS, MessageOptions, OutgoingMessage, Receipt
from alertctl.channels.slack import block_text
from alertctl.channels.slack.blocks import slack_message
from alertctl.content import Content, Field, Severity
from alertctl.sandbox import Sandbox
from alertctl.sandbox.block_kit import check_blocks
from alertctl.text import width
from tests.support.cases import each
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import NASTY, content, contents
from tests.support.providers import ALERT, harnesses

COMPACT = MessageOptions(style="compact")


def message_of(alert: Content, *, plain: bool = False, options: MessageOptions = DEFAULT_OPTIONS) -> dict[str, Any]:
    return slack_message(alert, OutgoingMessage("delivery-1", "#alerts", plain=plain, options=options))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every typed object at any depth."""
    if isinstance(value, dict) and "type" in value:
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def texts(message: dict[str, Any]) -> list[str]:
    """Every string that Slack would show or follow."""
    parts = list(objects(message.get("blocks", [])))
    return [
        message["text"],
        *(part[name] for name in ("text", "url") for part in parts if isinstance(part.get(name), str)),
    ]


def rich_texts(message: dict[str, Any]) -> list[str]:
    """The text of each block of rich text."""
    return [block_text(block) for block in message["blocks"] if block["type"] == "rich_text"]


def assert_within_limits(message: dict[str, Any]) -> None:
    json.dumps(message, allow_nan=False).encode()
    blocks = message.get("blocks", [])
    assert 1 <= width(message["text"]) <= 4000
    assert len(blocks) <= 50
    assert sum(map(width, texts(message))) <= 10_000
    for block in blocks:
        assert_block_within_limits(block)
    for text in texts(message):
        assert text
        text.encode("utf-8")


def assert_block_within_limits(block: dict[str, Any]) -> None:
    assert block["type"] in ("header", "rich_text", "context")
    if block["type"] == "header":
        assert 1 <= width(block["text"]["text"]) <= 150
    if block["type"] == "context":
        assert len(block["elements"]) <= 10
        assert all(1 <= width(element["text"]) <= 3000 for element in block["elements"])
    for part in objects(block):
        if part["type"] == "rich_text_section":
            assert len(part["elements"]) <= 25
        if "url" in part:
            assert width(part["url"]) <= 3000
            assert part["url"].lower().startswith(("http://", "https://"))
            assert not set(part["url"]) & set('<>" \n\\')


DATE = re.compile(r"<!date\^\d+\^\{date_short_pretty\} \{time\}\|[\d: -]+ UTC>|[\d: -]+ UTC")


def assert_inert(message: dict[str, Any]) -> None:
    """Slack reads markup in no text of the event.

    `text`, plain_text and mrkdwn: `<` and `>` never stand for themselves, every `&` begins an entity. mrkdwn is only
    used for our own time. In rich_text, elements of other types than `text` could mention; there are only links.
    """
    escaped = [message["text"]]
    assert "blocks" in message or message["mrkdwn"] is False
    assert not re.search(r":[\w+'-]+:", message["text"].replace(message_link(message), ""))
    for part in objects(message.get("blocks", [])):
        if part["type"] == "mrkdwn":
            assert part["verbatim"] is True
            assert DATE.fullmatch(part["text"])
        elif part["type"] == "plain_text":
            assert part["emoji"] is False
            escaped.append(part["text"])
        else:
            assert part["type"] in ("header", "rich_text", "rich_text_section", "text", "link", "context")
    for text in escaped:
        assert "<" not in text
        assert ">" not in text
        assert "&" not in text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


def message_link(message: dict[str, Any]) -> str:
    """The line of a plain message that is its link."""
    lines = message["text"].splitlines()
    return next((line for line in lines if line.lower().startswith(("http://", "https://"))), "\0")


@fixed_examples(100, long=10_000)
@given(contents(), st.booleans(), st.sampled_from([DEFAULT_OPTIONS, COMPACT]))
@example(content(*["<!channel>&" * 4000] * 4), False, DEFAULT_OPTIONS)
@example(content(*["\U0001f600" * 4000] * 4), False, DEFAULT_OPTIONS)
@example(content(*["\ud83d" * 4000] * 4), False, COMPACT)
@example(content(*[""] * 4), True, DEFAULT_OPTIONS)
def test_hostile_and_endless_content_stays_within_limits_and_inert(
    alert: Content, plain: bool, options: MessageOptions
) -> None:
    message = message_of(alert, plain=plain, options=options)
    assert_within_limits(message)
    assert_inert(message)
    check_blocks(message.get("blocks", []))


@each("nasty", NASTY)
def test_the_sandbox_accepts_hostile_text_in_every_field(sandbox: Sandbox, nasty: str) -> None:
    channel = harnesses(sandbox)["slack"].channel()
    alert = content(nasty, nasty, nasty, nasty)
    for plain in (False, True):
        result = channel.send(alert, [OutgoingMessage("delivery-1", "#alerts", plain)])[0]
        assert isinstance(result, Receipt), result
    channel.close()


def test_a_message_has_title_sentence_fields_link_and_small_print() -> None:
    alert = replace(ALERT.with_notes("This is a test"), labels=(("team", "growth"),))
    header, *_, context = message_of(alert)["blocks"]
    assert header["text"]["text"] == "🚨 Safety rollback: checkout-v3"
    assert rich_texts(message_of(alert)) == [
        ALERT.summary,
        "Environment: production\nMetric: error_rate",
        f"Open on flags.corp.example {ALERT.link}",
    ]
    assert [element["text"] for element in context["elements"]] == [
        "Critical · safety_rollback · This is a test · team=growth",
        "<!date^1772461920^{date_short_pretty} {time}|2026-03-02 14:32 UTC>",
    ]


def test_a_compact_message_has_two_lines() -> None:
    (block,) = message_of(ALERT, options=COMPACT)["blocks"]
    title, sentence = block_text(block).split("\n")
    assert title == "🚨 Critical: Safety rollback: checkout-v3"
    assert sentence == f"{ALERT.summary} · Open on flags.corp.example {ALERT.link}"


def test_a_compact_message_without_a_sentence_has_its_fields_and_notes() -> None:
    alert = replace(ALERT, summary=ALERT.title, link=None).with_notes("delayed 31 min")
    (block,) = message_of(alert, options=COMPACT)["blocks"]
    second_line = "Environment: production, Metric: error_rate · delayed 31 min"
    assert block_text(block) == f"🚨 Critical: Safety rollback: checkout-v3\n{second_line}"


def test_fields_that_the_sentence_states_are_left_out() -> None:
    fields = (
        Field("Environment", "prod", "in prod"),
        Field("Threshold", "> 5%", "threshold of 5%"),
        Field("Owner", "prod"),
        Field("Share", "5", "5"),
    )
    alert = replace(ALERT, summary="Rolled back in prod: above the threshold of 5%.", fields=fields)
    assert rich_texts(message_of(alert))[1] == "Owner: prod"
    reworded = replace(alert, summary="Rolled back in production, 55 % of 1.5.")
    assert rich_texts(message_of(reworded))[1] == "Environment: prod\nThreshold: > 5%\nOwner: prod\nShare: 5"


def test_text_of_an_event_is_shown_as_it_was_written() -> None:
    text = "*bold* _it_ ~no~ `code`\n- one\n> quote :fire: <!channel> &amp; <@U1> #general"
    alert = replace(ALERT, summary=text, fields=(Field("*key*_x", text), Field(":fire:", "a")))
    assert rich_texts(message_of(alert))[:2] == [text, f"*key*_x:\n{text}\n:fire:: a"]
    fallback = html.unescape(message_of(alert)["text"])
    assert ":fire:" not in fallback
    assert ":fire:" in fallback.replace("\u2060", "")


def test_the_fallback_text_is_a_full_sentence() -> None:
    assert message_of(ALERT)["text"] == f"🚨 Critical: Safety rollback: checkout-v3. {ALERT.summary}"


@pytest.mark.parametrize(
    ("title", "summary"), [("Disk full", "Disk full."), ("Really?", "Really?"), ("満杯。", "満杯。")]
)
def test_a_bare_title_is_shown_once(title: str, summary: str) -> None:
    message = message_of(replace(ALERT, title=title, summary=summary))
    assert message["text"].count(title) == 1
    assert not message["text"].endswith(("..", "?.", "。."))
    assert json.dumps(message["blocks"], ensure_ascii=False).count(title) == 1


@pytest.mark.parametrize("severity", list(Severity))
def test_severity_is_shown_as_a_word_and_a_symbol(severity: Severity) -> None:
    word = severity.value.capitalize()
    for options in (DEFAULT_OPTIONS, COMPACT):
        message = message_of(replace(ALERT, severity=severity), options=options)
        assert word in message["text"]
        assert not message["text"].isascii()
        assert word in json.dumps(message["blocks"])


def test_the_plain_variant_is_text_only_and_complete() -> None:
    alert = replace(ALERT, fields=(*ALERT.fields, Field("Log", "a\nb")), labels=(("team", "growth"),))
    message = message_of(alert, plain=True)
    assert "blocks" not in message
    assert message["mrkdwn"] is False
    parts = (ALERT.title, ALERT.summary, "Environment: production", "a\nb", "safety_rollback", "team=growth")
    for part in (*parts, html.escape(str(ALERT.link)), "2026-03-02 14:32 UTC"):
        assert part in message["text"]


def test_more_than_ten_fields_are_counted() -> None:
    many = replace(ALERT, fields=tuple(Field(f"n{i}", "v") for i in range(13)))
    message = message_of(many)
    assert len(rich_texts(message)[1].splitlines()) == 10
    assert message["blocks"][-1]["elements"][0]["text"].startswith("+3 more · ")


def test_ten_endless_fields_share_the_remaining_length() -> None:
    many = replace(ALERT, fields=tuple(Field(f"n{i}", "v" * 5000) for i in range(10)))
    fields = rich_texts(message_of(many))[1].splitlines()
    assert all(len(field) > 800 for field in fields)
    assert all(field.endswith("…") for field in fields)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "http://", "//x", ""]
)
def test_a_link_that_is_not_http_is_dropped(link: str) -> None:
    for options in (DEFAULT_OPTIONS, COMPACT):
        message = message_of(replace(ALERT, link=link), options=options)
        assert not [part for part in objects(message["blocks"]) if "url" in part]


def test_a_link_that_is_too_long_is_reported_as_missing() -> None:
    message = message_of(replace(ALERT, link="https://x.example/" + "a" * 3000))
    assert not [part for part in objects(message["blocks"]) if "url" in part]
    assert "link too long" in message["blocks"][-1]["elements"][0]["text"]


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("https://bank.example@evil.example:8443/bank.example", "Open on evil.example:8443"),
        ("https://b\u0430nk.example/", "Open on xn--bnk-6cd.example"),
        ("http://[2001:db8::1]/", "Open on [2001:db8::1]"),
        (f"https://bank.example.{'a' * 60}.{'b' * 60}.evil.example/", f"a.{'b' * 60}.evil.example"),
    ],
)
def test_a_link_names_the_host_that_it_leads_to(link: str, text: str) -> None:
    elements = [part for part in objects(message_of(replace(ALERT, link=link))["blocks"]) if part["type"] == "link"]
    assert elements[0]["text"].endswith(text)
    assert elements[0]["text"].startswith("Open on ")
    assert len(elements[0]["text"]) <= 100


def test_a_time_before_1970_is_shown_in_utc() -> None:
    context = message_of(replace(ALERT, occurred_at=datetime(1, 1, 1, tzinfo=UTC)))["blocks"][-1]
    assert context["elements"][1]["text"] == "0001-01-01 00:00 UTC"


def test_the_delivery_id_travels_with_the_message(sandbox: Sandbox) -> None:
    harnesses(sandbox)["slack"].send()
    payload = sandbox.slack.messages[0].payload
    assert payload["metadata"]["event_payload"] == {"delivery_id": "delivery-1"}


def test_render_returns_the_message_that_is_sent(sandbox: Sandbox) -> None:
    channel = harnesses(sandbox)["slack"].channel()
    channel.send(ALERT, [OutgoingMessage("delivery-1", "#alerts")])
    assert sandbox.slack.messages[0].payload == channel.render(ALERT, OutgoingMessage("delivery-1", "#alerts"))  # type: ignore[attr-defined]
    channel.close()
