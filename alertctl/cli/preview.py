"""`send --dry-run`: what would go to whom, as text."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alertctl.cli.output import Output, plain, print_items, print_line

if TYPE_CHECKING:
    from alertctl.schemas import Rendered

WHY = {
    "default_channel": "the default channel gets every event",
    "admin_email": "one of NOTIFICATION_ADMIN_EMAILS",
    "user_channel": "a user's Slack channel",
    "user_email": "a user wants this event by email",
    "named": "named by the caller",
    "test": "a test",
}
"""The rules of routing in words."""


def print_previews(previews: Sequence[Rendered], output: Output) -> None:
    """Print each target with the reason for it and its message."""
    if output is Output.JSON:
        print_items(previews)
        return
    for one in previews:
        held = f" - would be held back: {one.held_back}" if one.held_back else ""
        print_line(plain(f"{one.channel} {one.to} ({WHY.get(one.rule, one.rule)}){held}", " "))
        for line in plain(message_text(one.message)).splitlines():
            print_line(f"    {line}".rstrip())
        print_line("")


def message_text(message: Mapping[str, Any]) -> str:
    """A rendered message's words: Slack's blocks, or an email's subject and text."""
    if "blocks" in message:
        return "\n".join(slack_lines(message["blocks"]))
    subject = message.get("headers", {}).get("Subject", "")
    text = str(message.get("text", ""))
    return f"Subject: {subject}\n\n{text}" if subject else text


def slack_lines(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Block Kit as lines of text."""
    lines: list[str] = []
    for block in blocks:
        for part in (block.get("text"), *block.get("fields", ()), *block.get("elements", ())):
            if part:
                lines.append(slack_text(part))
    return lines


def slack_text(part: Mapping[str, Any]) -> str:
    """One text object or button: a field becomes `Name: value`, a button its label and address."""
    text: Any = part.get("text", "")
    if isinstance(text, Mapping):
        return f"[{text.get('text', '')}] {part.get('url', '')}".strip()
    name, break_, value = str(text).partition("*\n")
    if break_ and name.startswith("*"):
        text = f"{name[1:]}: {value}"
    return html.unescape(str(text))
