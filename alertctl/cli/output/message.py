"""Messages on a terminal: those of `send --dry-run`, and those that the sandbox received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from alertctl.channels import ROUTING_REASONS, channel_type
from alertctl.channels.slack import NO_EMAILS, block_text
from alertctl.cli.output.streams import Output, plain, print_items, print_line
from alertctl.schemas import Rendered

EMAIL_LINES = 16
"""Maximum lines that are shown of an email that the sandbox received."""

STYLES = {"header": "bold", "context": "dim"}
"""The styles of Block Kit blocks; others have none."""


def print_previews(previews: Sequence[Rendered], warnings: Sequence[str], output: Output) -> None:
    """Print each target with the reason for it and its message; in JSON, also the warnings."""
    if output is Output.JSON:
        print_items(previews, warnings=warnings)
        return
    for preview in previews:
        known = ROUTING_REASONS.get(preview.routing_reason)
        summary = known.summary if known else preview.routing_reason
        if preview.routing_reason == "route":
            summary = f"route {preview.route}"
        held = f" - would be suppressed: {preview.suppressed_reason}" if preview.suppressed_reason else ""
        print_line(plain(f"{preview.channel} {preview.to} ({summary}){held}", " "))
        for line in plain(channel_type(preview.channel).message_text(preview.message)).splitlines():
            print_line(f"    {line}".rstrip())
        print_line("")


def panel(provider: str, message: Any) -> Panel:
    """Return a message that one of the sandbox's providers received, as a panel."""
    if provider == "slack":
        label = f"  ({message.label})" if message.label else ""
        return _slack_panel(f"{message.to}{label}", message.text, message.blocks, message.emails)
    return _email_panel(*_email(provider, message), max_lines=EMAIL_LINES)


def rendered_panel(rendered: Rendered) -> Panel:
    """Return a complete rendered message as a panel."""
    message = rendered.message
    if rendered.channel == "slack":
        return _slack_panel(rendered.to, message["text"], message.get("blocks", ()))
    headers = message["headers"]
    return _email_panel(rendered.to, headers["From"], headers["Subject"], message["text"])


def _slack_panel(
    channel: str, text: str, blocks: Sequence[Mapping[str, Any]], emails: Mapping[str, str] = NO_EMAILS
) -> Panel:
    parts = [Text(plain(block_text(block, emails)), style=STYLES.get(block["type"], "")) for block in blocks]
    return _framed(f"Slack  {channel}", parts or [Text(plain(text))], "magenta")


def _email_panel(to: str, sender: str, subject: str, text: str, *, max_lines: int | None = None) -> Panel:
    lines = plain(text).strip().splitlines()
    shown = lines if max_lines is None or len(lines) <= max_lines else [*lines[:max_lines], "…"]
    head = Text.assemble(
        ("From     ", "dim"), plain(sender, " "), "\n", ("Subject  ", "dim"), (plain(subject, " "), "bold")
    )
    return _framed(f"Inbox  {to}", [head, Text(), *map(Text, shown)], "cyan")


def _framed(title: str, parts: Sequence[Text], style: str) -> Panel:
    heading = Text(plain(title, " "), style="bold")
    return Panel(Group(*parts), title=heading, title_align="left", border_style=style, box=box.ROUNDED, padding=(0, 1))


def summary(provider: str, message: Any) -> dict[str, Any]:
    """Return a received message as data."""
    if provider == "slack":
        content = {"provider": provider, "to": message.to, "text": message.text, "blocks": message.blocks}
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
    sender, texts = message.payload.get("from", {}), message.parts
    name = f"{sender.get('name', '')} <{sender.get('email', '')}>".strip()
    return message.to, name, message.subject, next(iter(texts.values()), "")
