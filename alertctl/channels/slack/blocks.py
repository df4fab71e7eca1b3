"""Content as a Slack message: Block Kit, within Slack's limits, with everything hostile made inert."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from alertctl.content import Content, Field, Severity, full_stop
from alertctl.text import cut, fit, safe_link, width

# https://docs.slack.dev/reference/block-kit/blocks; all in UTF-16 units, counted after escaping
HEADER_LIMIT = 150
SECTION_LIMIT = 3000
FIELD_LIMIT = 2000
FIELDS_LIMIT = 10
BUTTON_LIMIT = 75
URL_LIMIT = 3000
BLOCKS_LIMIT = 50
TOTAL_LIMIT = 10_000
"""All text of a message together; Slack's own limit is about 13 000 for its blocks (measured)."""

NAME_LIMIT = 75
NOTE_LIMIT = 200
NOTES_LIMIT = 10
CONTEXT_LIMIT = 800
FALLBACK_LIMIT = 1000
PLAIN_FIELDS_LIMIT = 50
PLAIN_LIMIT = 4000
"""Slack's advice for `text` (it cuts at 40 000)."""

EMOJI = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🚨"}
WORD = {Severity.INFO: "Info", Severity.WARNING: "Warning", Severity.ERROR: "Error", Severity.CRITICAL: "Critical"}


def escape(text: str, limit: int, *, line: bool = False) -> str:
    """Text that Slack shows as it is: no mentions, no links, at most `limit` long after escaping."""
    fitting = fit(text, limit, line=line)
    return cut(fitting.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), limit)


def slack_message(content: Content, channel: str, delivery_id: str, *, plain: bool = False) -> dict[str, Any]:
    """The payload of chat.postMessage. `plain` is what is tried once after Slack disliked the blocks."""
    message: dict[str, Any] = {
        "channel": channel,
        "text": plain_text(content) if plain else fallback_text(content),
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if plain:
        return message | {"mrkdwn": False}
    return message | {
        "blocks": [block.to_dict() for block in blocks(content, spent=width(message["text"]))],
        "metadata": {"event_type": "alertctl_delivery", "event_payload": {"delivery_id": delivery_id}},
    }


def fallback_text(content: Content) -> str:
    """One full sentence for notifications and screen readers."""
    headline = _headline(content)
    sentence = f"{headline}{full_stop(headline)}"
    # A bare title is its own summary: nobody needs to hear it twice.
    if content.summary != f"{content.title}{full_stop(content.title)}":
        sentence += f" {fit(content.summary, FALLBACK_LIMIT)}"
    return escape(sentence, FALLBACK_LIMIT, line=True)


def plain_text(content: Content) -> str:
    """Everything as lines of text."""
    named = [
        f"{_name(field)}: {fit(field.value, FIELD_LIMIT, line=True) or '-'}"
        for field in content.fields[:PLAIN_FIELDS_LIMIT]
    ]
    lines = [
        _headline(content),
        fit(content.summary, SECTION_LIMIT),
        *named,
        safe_link(content.link) or "",
        _small_print(content),
    ]
    return escape("\n".join(line for line in lines if line.strip()), PLAIN_LIMIT)


def blocks(content: Content, *, spent: int = 0) -> list[Block]:
    """Header, summary, fields, link button, small print. `spent` is how much of the total the fallback text takes."""
    header = escape(_headline(content), HEADER_LIMIT)
    summary = escape(content.summary, SECTION_LIMIT)
    link = safe_link(content.link)
    button = link if link and width(link) <= URL_LIMIT else None
    more = len(content.fields) - FIELDS_LIMIT
    small = _context(content, more=max(more, 0), dropped_link=bool(link) and button is None)
    left = TOTAL_LIMIT - spent - sum(map(width, (header, summary, small, button or ""))) - BUTTON_LIMIT
    found: list[Block] = [HeaderBlock(text=PlainTextObject(text=header, emoji=True))]
    if summary:
        found.append(SectionBlock(text=_inert(summary)))
    if content.fields:
        found.append(SectionBlock(fields=[_inert(text) for text in _fields(content.fields[:FIELDS_LIMIT], left)]))
    if button:
        found.append(ActionsBlock(elements=[ButtonElement(text="Open", url=button, action_id="open")]))
    return [*found, ContextBlock(elements=[_inert(small)])]


def _inert(text: str) -> MarkdownTextObject:
    """Return a text in which Slack does not look for mentions, channels and links (`verbatim`)."""
    return MarkdownTextObject(text=text, verbatim=True)


def _fields(fields: tuple[Field, ...], left: int) -> list[str]:
    """Each field's text; where they don't fit together, each gets the same share of what is left."""
    texts = [_field(field) for field in fields]
    if sum(map(width, texts)) <= left:
        return texts
    return [cut(text, left // len(texts)) for text in texts]


def _field(field: Field) -> str:
    name = escape(_name(field).replace("*", "∗"), NAME_LIMIT)
    return cut(f"*{name}*\n{escape(field.value, FIELD_LIMIT) or '-'}", FIELD_LIMIT)


def _name(field: Field) -> str:
    return fit(field.name, NAME_LIMIT, line=True) or "-"


def _headline(content: Content) -> str:
    title = fit(content.title, FALLBACK_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True) or "Alert"
    return f"{EMOJI[content.severity]} {WORD[content.severity]}: {title}"


def _small_print(content: Content) -> str:
    when = f"{content.occurred_at.astimezone(UTC).isoformat(' ')[:16]} UTC"
    notes = [fit(note, NOTE_LIMIT, line=True) for note in content.notes[:NOTES_LIMIT]]
    return " · ".join(filter(None, (*notes, fit(content.event_type, NAME_LIMIT, line=True), when)))


def _context(content: Content, *, more: int, dropped_link: bool) -> str:
    remarks = [f"+{more} more" if more else "", "link too long to show" if dropped_link else ""]
    return escape(" · ".join(filter(None, (*remarks, _small_print(content)))), CONTEXT_LIMIT)
