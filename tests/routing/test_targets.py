"""Targets: their form, and those that labels name."""

from __future__ import annotations

import pytest

from alertctl.errors import InvalidEvent
from alertctl.routing import parse_target


@pytest.mark.parametrize(
    "text", ["slack:#x", "slack:general", "slack:C0123456789", "email:a@b", "email:o'hara+x@b.example"]
)
def test_a_target_is_a_channel_and_an_address(text):
    target = parse_target(text)
    assert f"{target.channel}:{target.address}" == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "slack", "slack:", "slack:a b", "slack:#", "Slack:#x", "email:", "email:a", "email:a@b@c", "sms:1"],
)
def test_an_invalid_target_is_refused_with_an_example(text):
    with pytest.raises(InvalidEvent, match=r"^to: .*(#|@)"):
        parse_target(text)
