"""Mentions as Slack's markup: from ids only, whatever the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import Mention
from alertctl.channels.slack.mentions import TEXT_LIMIT, mention_text
from alertctl.text import width
from tests.support.hostile_content import NASTY

MARKUP = re.compile(r"<@[A-Z][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>")
TEXTS = st.sampled_from(NASTY) | st.text(max_size=200)
MENTIONS = st.builds(Mention, TEXTS, st.none() | TEXTS | st.from_regex(r"[USW][A-Z0-9]{1,12}", fullmatch=True))


def test_people_and_groups_are_mentioned_once_and_others_named():
    mentions = [
        Mention("ana@corp.example", "U0123456789"),
        Mention("S0123456789", "S0123456789"),
        Mention("ana@corp.example", "U0123456789"),
        Mention("bo@corp.example"),
    ]
    assert mention_text(mentions) == "<@U0123456789> <!subteam^S0123456789> bo@corp.example"
    assert mention_text([]) == ""


@pytest.mark.parametrize("provider_id", ["", "here", "!here", "U1|x", "U1> <!channel", "u0123456789", "U1\n"])
def test_what_is_no_id_mentions_nobody(provider_id):
    assert mention_text([Mention("ana", provider_id)]) == "ana"


def test_mentions_that_do_not_fit_are_left_out_whole():
    text = mention_text([Mention(f"user-{number}@corp.example", f"U{number:010}") for number in range(200)])
    assert width(text) <= TEXT_LIMIT
    assert MARKUP.sub("", text).strip() == ""


@given(st.lists(MENTIONS, max_size=30))
def test_hostile_names_and_ids_mention_nobody_else(mentions):
    text = mention_text(mentions)
    assert width(text) <= TEXT_LIMIT
    rest = MARKUP.sub("", text)
    assert "<" not in rest
    assert ">" not in rest
    assert len(MARKUP.findall(text)) <= sum(mention.provider_id is not None for mention in mentions)
