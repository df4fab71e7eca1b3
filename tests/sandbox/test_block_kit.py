from __future__ import annotations

from typing import Any

import pytest

from alertctl.sandbox import Sandbox
from alertctl.sandbox.block_kit import BlockError, check_blocks
from tests.support.cases import each
from tests.support.sandbox_clients import post_message

Block = dict[str, Any]


def plain(text: Any) -> Block:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: Any) -> Block:
    return {"type": "mrkdwn", "text": text}


def header(text: Any) -> Block:
    return {"type": "header", "text": plain(text)}


def section(text: Any) -> Block:
    return {"type": "section", "text": mrkdwn(text)}


def fields(count: int, length: int = 5) -> Block:
    return {"type": "section", "fields": [mrkdwn("f" * length)] * count}


def button(text: str = "Open", url: Any = "https://corp.example/", **more: Any) -> Block:
    return {"type": "actions", "elements": [{"type": "button", "text": plain(text), "url": url, **more}]}


def context(*elements: Any) -> Block:
    return {"type": "context", "elements": list(elements)}


def rich_text(*elements: Any) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements)}]}


GOOD = [
    [header("h" * 150)],
    [section("s" * 3000)],
    [fields(10, 1000)],
    [fields(1, 2000)],
    [button("b" * 75, "https://" + "u" * 2992)],
    [button(action_id="open", style="danger", value="1")],
    [context(mrkdwn("small"), plain("print"))],
    [context({"type": "image", "image_url": "https://corp.example/a.png", "alt_text": "a"})],
    [{"type": "divider"}] * 50,
    [{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "b"}],
    [{"type": "image", "image_url": "http://corp.example/a.png", "alt_text": "a", "title": plain("A")}],
    [rich_text({"type": "text", "text": "*a*\n", "style": {"bold": True}}, {"type": "user", "user_id": "U1"})],
    [rich_text({"type": "link", "url": "https://corp.example/", "text": "Open"})],
    [rich_text({"type": "date", "timestamp": 1772461920, "format": "{time}", "fallback": "14:32"})],
    [{"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": []}]}],
    [section("s" * 3000)] * 4 + [section("s" * 1000)],
    [{"type": "header", "text": {**plain("h"), "emoji": True}}],
]

BAD = [
    ([header("h" * 151)], "/blocks/0/text/text"),
    ([header("")], "/blocks/0/text/text"),
    ([header(7)], "/blocks/0/text/text"),
    ([{"type": "header", "text": mrkdwn("h")}], "/blocks/0/text/type"),
    ([{"type": "header"}], "/blocks/0/text"),
    ([section("s" * 3001)], "/blocks/0/text/text"),
    ([section(" ")], "/blocks/0/text/text"),
    ([{"type": "section"}], "/blocks/0"),
    ([{"type": "section", "text": {**mrkdwn("s"), "emoji": True}}], "/blocks/0/text"),
    ([{"type": "section", "fields": []}], "/blocks/0/fields"),
    ([fields(11)], "/blocks/0/fields"),
    ([header("h"), fields(1, 2001)], "/blocks/1/fields/0/text"),
    ([button("b" * 76)], "/blocks/0/elements/0/text/text"),
    ([button(url="https://" + "u" * 2993)], "/blocks/0/elements/0/url"),
    ([button(url="javascript:alert(1)")], "/blocks/0/elements/0/url"),
    ([button(url="corp.example")], "/blocks/0/elements/0/url"),
    ([button(url="https://a b")], "/blocks/0/elements/0/url"),
    ([button(url=None)], "/blocks/0/elements/0/url"),
    ([button(style="loud")], "/blocks/0/elements/0/style"),
    ([button(color="red")], "/blocks/0/elements/0"),
    ([{"type": "actions", "elements": []}], "/blocks/0/elements"),
    ([{"type": "actions", "elements": ["button"]}], "/blocks/0/elements/0"),
    ([{"type": "actions", "elements": [{"type": ["button"]}]}], "/blocks/0/elements/0/type"),
    ([context()], "/blocks/0/elements"),
    ([context(*[mrkdwn("c")] * 11)], "/blocks/0/elements"),
    ([{"type": "shout"}], "/blocks/0/type"),
    ([{"type": ["header"]}], "/blocks/0/type"),
    ([{}], "/blocks/0/type"),
    (["header"], "/blocks/0"),
    ([{"type": "divider", "colour": "red"}], "/blocks/0"),
    ([{"type": "divider", "block_id": "i" * 256}], "/blocks/0/block_id"),
    ([{"type": "divider", "block_id": "a"}] * 2, "/blocks"),
    ([{"type": "divider"}] * 51, "/blocks"),
    ([{"type": "image", "image_url": "https://corp.example/a.png"}], "/blocks/0/alt_text"),
    ([{"type": "rich_text"}], "/blocks/0/elements"),
    ([{"type": "rich_text", "elements": [{"type": "text", "text": "t"}]}], "/blocks/0/elements/0/type"),
    ([rich_text()], "/blocks/0/elements/0/elements"),
    ([rich_text({"type": "text", "text": ""})], "/blocks/0/elements/0/elements/0/text"),
    ([rich_text({"type": "text", "text": "t", "style": "bold"})], "/blocks/0/elements/0/elements/0/style"),
    ([rich_text({"type": "text", "text": "t", "emoji": True})], "/blocks/0/elements/0/elements/0"),
    ([rich_text({"type": "link", "url": "javascript:x"})], "/blocks/0/elements/0/elements/0/url"),
    ([rich_text({"type": "date", "timestamp": "1", "format": "{time}"})], "/blocks/0/elements/0/elements/0/timestamp"),
    ([rich_text({"type": "mention"})], "/blocks/0/elements/0/elements/0/type"),
]


@each("blocks", GOOD)
def test_blocks_within_slacks_limits_are_taken(blocks: list[Block]) -> None:
    check_blocks(blocks)


@each(("blocks", "pointer"), BAD)
def test_blocks_beyond_slacks_limits_are_refused_with_their_pointer(blocks: list[Block], pointer: str) -> None:
    with pytest.raises(BlockError) as caught:
        check_blocks(blocks)

    assert caught.value.code == "invalid_blocks"
    assert str(caught.value).endswith(f"[json-pointer:{pointer}]")


def test_blocks_that_are_too_long_together_have_an_error_of_their_own(sandbox: Sandbox) -> None:
    reply = post_message(sandbox, blocks=[section("s" * 2601)] * 5)

    assert reply.json["error"] == "msg_blocks_too_long"


def test_the_answer_names_the_error_in_the_blocks(sandbox: Sandbox) -> None:
    answer = post_message(sandbox, blocks=[header("h" * 151)]).json

    assert answer["error"] == "invalid_blocks"
    assert answer["errors"] == ["must be less than 151 characters [json-pointer:/blocks/0/text/text]"]
    assert sandbox.slack.messages == []
