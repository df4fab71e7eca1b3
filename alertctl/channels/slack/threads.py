"""Messages in threads: the arguments of a reply, and the edited text of a root."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, MarkdownTextObject, PlainTextObject, SectionBlock

from alertctl.channels.base import ThreadRoot
from alertctl.channels.slack.blocks import EMOJI, FALLBACK_LIMIT, HEADER_LIMIT, SEVERITY_NAME, URL_LIMIT, escape
from alertctl.content import Content, Severity, full_stop
from alertctl.text import safe_link, width

STEP_LIMIT = 180
"""The limit of a step's text: ten of them with their times fit into one section."""
SUBJECT_LIMIT = 150
HOST_LIMIT = 80


def reply_arguments(root: ThreadRoot, *, broadcast: bool) -> dict[str, Any]:
    """Return the arguments of chat.postMessage that make a message a reply."""
    arguments: dict[str, Any] = {"channel": root.provider_channel, "thread_ts": root.root_ts}
    return arguments | {"reply_broadcast": True} if broadcast else arguments


def root_update(root: ThreadRoot, contents: Sequence[Content], earlier: int) -> dict[str, Any]:
    """Return the payload of chat.update: the newest event's title, and a line for each event, oldest first."""
    newest = contents[-1]
    title = f"{_mark(newest.severity)}: {newest.title}"
    return {
        "channel": root.provider_channel,
        "ts": root.root_ts,
        "text": escape(f"{title}{full_stop(title)} {newest.summary}", FALLBACK_LIMIT, line=True),
        "parse": "none",
        "link_names": False,
        "blocks": [block.to_dict() for block in _blocks(title, contents, earlier)],
    }


def _blocks(title: str, contents: Sequence[Content], earlier: int) -> list[Block]:
    lines = [f"… {earlier} earlier"] if earlier else []
    lines += [_step(content) for content in contents]
    blocks: list[Block] = [
        HeaderBlock(text=PlainTextObject(text=escape(title, HEADER_LIMIT, line=True), emoji=True)),
        SectionBlock(text=MarkdownTextObject(text="\n".join(lines), verbatim=True)),
    ]
    footer = (escape(contents[-1].subject, SUBJECT_LIMIT, line=True), _link(contents))
    if any(footer):
        text = MarkdownTextObject(text=" · ".join(filter(None, footer)), verbatim=True)
        blocks.append(ContextBlock(elements=[text]))
    return blocks


def _link(contents: Sequence[Content]) -> str:
    """Return the newest link, empty without any."""
    link = next((link for content in reversed(contents) if (link := safe_link(content.link))), None)
    if link is None or width(link) > URL_LIMIT:
        return ""
    host = escape(urlsplit(link).hostname or "", HOST_LIMIT, line=True)
    return f"<{link.replace('&', '&amp;')}|Open on {host}>"


def _step(content: Content) -> str:
    """Return the time in the reader's zone, the severity unless it is `info`, and the step."""
    when = content.occurred_at.astimezone(UTC)
    time = f"<!date^{int(when.timestamp())}^{{date_short_pretty}} {{time}}|{when.isoformat(' ')[:16]} UTC>"
    mark = "" if content.severity is Severity.INFO else f"{_mark(content.severity)}: "
    return f"{time}  {mark}{escape(content.step or content.title, STEP_LIMIT, line=True)}"


def _mark(severity: Severity) -> str:
    return f"{EMOJI[severity]} {SEVERITY_NAME[severity]}"
