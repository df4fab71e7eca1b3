"""Mentions are made of ids only, whatever the text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import Mention
from alertctl.channels.slack.mentions import mention_elements, mention_text
from alertctl.config.validators import MAX_MENTIONS
from alertctl.sandbox.block_kit import check_blocks
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import NASTY

MARKUP = re.compile(r"<@[A-Z][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>")
TEXTS = st.sampled_from(NASTY) | st.text(max_size=200)
MENTIONS = st.builds(Mention, TEXTS, st.none() | TEXTS | st.from_regex(r"[USW][A-Z0-9]{1,12}", fullmatch=True))


def elements(mentions: list[Mention]) -> list[dict[str, Any]]:
    return [element.to_dict() for element in mention_elements(mentions)]


def test_people_and_groups_are_mentioned_once_and_others_named():
    mentions = [
        Mention("ana@corp.example", "U0123456789"),
        Mention("S0123456789", "S0123456789"),
        Mention("ana@corp.example", "U0123456789"),
        Mention("bo@corp.example"),
    ]
    assert mention_text(mentions) == "<@U0123456789> <!subteam^S0123456789> bo@corp.example"
    assert elements(mentions) == [
        {"type": "user", "user_id": "U0123456789"},
        {"type": "text", "text": " "},
        {"type": "usergroup", "usergroup_id": "S0123456789"},
        {"type": "text", "text": " "},
        {"type": "text", "text": "bo@corp.example"},
    ]
    assert (mention_text([]), elements([])) == ("", [])


@pytest.mark.parametrize("provider_id", ["", "here", "!here", "U1|x", "U1> <!channel", "u0123456789", "U1\n"])
def test_an_invalid_id_mentions_nobody(provider_id):
    assert mention_text([Mention("ana", provider_id)]) == "ana"
    assert elements([Mention("ana", provider_id)]) == [{"type": "text", "text": "ana"}]


def test_mentions_beyond_the_limit_are_left_out():
    mentions = [Mention(f"user-{number}@corp.example", f"U{number:010}") for number in range(200)]
    assert len(MARKUP.findall(mention_text(mentions))) == MAX_MENTIONS
    assert sum(element["type"] == "user" for element in elements(mentions)) == MAX_MENTIONS


@fixed_examples(50, long=10_000)
@given(st.lists(MENTIONS, max_size=30))
def test_hostile_names_and_ids_mention_nobody_else(mentions):
    text = mention_text(mentions)
    rest = MARKUP.sub("", text)
    assert "<" not in rest
    assert ">" not in rest
    parts = elements(mentions)
    ids = {mention.provider_id for mention in mentions}
    assert {part.get("user_id") or part.get("usergroup_id") for part in parts if part["type"] != "text"} <= ids
    if parts:
        check_blocks([{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": parts}]}])
