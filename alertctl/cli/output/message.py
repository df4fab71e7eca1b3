"""`send --dry-run`: what would go to whom, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alertctl.channels import ROUTING_RULES, channel_type
from alertctl.cli.output.streams import Output, plain, print_items, print_line

if TYPE_CHECKING:
    from alertctl.schemas import Rendered


def print_previews(previews: Sequence[Rendered], output: Output) -> None:
    """Print each target with the reason for it and its message."""
    if output is Output.JSON:
        print_items(previews)
        return
    for one in previews:
        summary = ROUTING_RULES[one.rule].summary if one.rule in ROUTING_RULES else one.rule
        held = f" - would be held back: {one.suppressed_reason}" if one.suppressed_reason else ""
        print_line(plain(f"{one.channel} {one.to} ({summary}){held}", " "))
        for line in plain(channel_type(one.channel).message_text(one.message)).splitlines():
            print_line(f"    {line}".rstrip())
        print_line("")
