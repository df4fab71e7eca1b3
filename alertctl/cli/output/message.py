"""Messages on a terminal: those of `send --dry-run`, and those that the sandbox received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from alertctl.channels import ROUTING_REASONS, channel_type
from alertctl.channels.slack import part_text
from alertctl.cli.output.streams import Output, plain, print_items, print_line
from alertctl.schemas import Rendered

EMAIL_LINES = 16
"""Maximum lines of an email's text that are shown."""


def print_previews(previews: Sequence[Rendered], output: Output) -> None:
    """Print each target with the reason for it and its message."""
    if output is Output.JSON:
        print_items(previews)
        return
    for preview in previews:
        known = ROUTING_REASONS.get(preview.routing_reason)
        summary = known.summary if known else preview.routing_reason
        held = f" - would be suppressed: {preview.suppressed_reason}" if preview.suppressed_reason else ""
        print_line(plain(f"{preview.channel} {preview.to} ({summary}){held}", " "))
        for line in plain(channel_type(preview.channel).message_text(preview.message)).splitlines():
            print_line(f"    {line}".rstrip())
        print_line("")


def panel(provider: str, message: Any) -> Panel:
    """Return a message that one of the sandbox's providers received, as a panel."""
    if provider == "slack":
        parts = [part for block in message.blocks for part in _block(block)] or [Text(plain(message.text))]
        label = f"  ({message.label})" if message.label else ""
        title, style = f"Slack  {message.channel}{label}", "magenta"
    else:
        to, sender, subject, text = _email(provider, message)
        lines = plain(text).strip().splitlines()
        shown = [*lines[:EMAIL_LINES], *(["…"] if len(lines) > EMAIL_LINES else [])]
        head = Text.assemble(
            ("From     ", "dim"), plain(sender, " "), "\n", ("Subject  ", "dim"), (plain(subject, " "), "bold")
        )
        parts = [head, Text(), *map(Text, shown)]
        title, style = f"Inbox  {to}", "cyan"
    heading = Text(plain(title, " "), style="bold")
    return Panel(Group(*parts), title=heading, title_align="left", border_style=style, box=box.ROUNDED, padding=(0, 1))


def summary(provider: str, message: Any) -> dict[str, Any]:
    """Return a received message as data."""
    if provider == "slack":
        content = {"provider": provider, "to": message.channel, "text": message.text, "blocks": message.blocks}
        return content | {"ts": message.ts, "thread_ts": message.thread_ts, "edited": message.label == "edited"}
    to, _, subject, _ = _email(provider, message)
    return {"provider": provider, "to": to, "subject": subject}


def _email(provider: str, message: Any) -> tuple[str, str, str, str]:
    """Return an email's recipients, sender, subject and text."""
    if provider == "smtp":
        mail = message.parsed
        body = mail.get_body(("plain", "html"))
        text = str(body.get_content()) if body is not None else ""
        return ", ".join(message.rcpt_tos), str(mail["From"]), str(mail["Subject"]), text
    payload = message.payload
    sender, content = payload.get("from", {}), payload.get("content", [{}])
    name = f"{sender.get('name', '')} <{sender.get('email', '')}>".strip()
    return message.to, name, str(payload.get("subject", "")), str(content[0].get("value", ""))


def _block(block: Mapping[str, Any]) -> list[RenderableType]:
    """Return the parts of a Block Kit block."""
    kind, text = block.get("type"), block.get("text")
    if block.get("fields"):
        return [_fields(block["fields"])]
    if kind == "context":
        return [Text(plain(" ".join(map(part_text, block["elements"]))), style="dim")]
    if kind == "actions":
        return [Text(plain("  ".join(map(part_text, block["elements"]))), style="blue")]
    return [Text(plain(part_text(text)), style="bold" if kind == "header" else "")] if text else []


def _fields(fields: list[Mapping[str, Any]]) -> RenderableType:
    """Return the fields in two columns, as Slack shows them."""
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    cells = []
    for field in fields:
        name, _, value = plain(part_text(field)).partition(": ")
        cells.append(Text.assemble((f"{name}  ", "dim"), value))
    for start in range(0, len(cells), 2):
        grid.add_row(*cells[start : start + 2])
    return grid
