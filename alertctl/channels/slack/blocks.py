"""Render content as a Slack message: Block Kit within Slack's limits, with all markup escaped."""

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

from alertctl.addresses import encode_slack_channel
from alertctl.channels.base import OutgoingMessage
from alertctl.channels.slack.mentions import mention_text
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
"""The text of a message in total. Slack's own limit for all blocks is about 13 000 (measured)."""

NAME_LIMIT = 75
NOTE_LIMIT = 200
NOTES_LIMIT = 10
FOOTER_LIMIT = 800
FALLBACK_LIMIT = 1000
PLAIN_FIELDS_LIMIT = 50
PLAIN_LIMIT = 4000
"""The limit that Slack recommends for `text` (it truncates at 40 000)."""

EMOJI = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🚨"}
SEVERITY_NAME = {
    Severity.INFO: "Info",
    Severity.WARNING: "Warning",
    Severity.ERROR: "Error",
    Severity.CRITICAL: "Critical",
}


def escape(text: str, limit: int, *, line: bool = False) -> str:
    """Escape text so that Slack shows it without mentions and links, at most `limit` long after escaping."""
    fitting = fit(text, limit, line=line)
    return cut(fitting.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), limit)


def slack_message(content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
    """Return the payload of chat.postMessage. `outgoing.plain` asks for text only, after Slack rejected the blocks."""
    mentions = mention_text(outgoing.mentions)
    text = plain_text(content) if outgoing.plain else fallback_text(content)
    message: dict[str, Any] = {
        "channel": outgoing.recipient_id or encode_slack_channel(outgoing.address),
        "text": f"{text} {mentions}".rstrip(),
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if outgoing.plain:
        return message | {"mrkdwn": False}
    all_blocks = blocks(content, used=width(message["text"]) + width(mentions))
    if mentions:
        all_blocks.insert(-1, SectionBlock(text=_verbatim(mentions)))
    return message | {
        "blocks": [block.to_dict() for block in all_blocks],
        "metadata": {"event_type": "alertctl_delivery", "event_payload": {"delivery_id": outgoing.delivery_id}},
    }


def fallback_text(content: Content) -> str:
    """Return a full sentence for notifications and screen readers."""
    headline = _headline(content)
    sentence = f"{headline}{full_stop(headline)}"
    # An event with only a title has that title as its summary.
    if content.summary != f"{content.title}{full_stop(content.title)}":
        sentence += f" {fit(content.summary, FALLBACK_LIMIT)}"
    return escape(sentence, FALLBACK_LIMIT, line=True)


def plain_text(content: Content) -> str:
    """Return the complete content as lines of text."""
    fields = [
        f"{_name(field)}: {fit(field.value, FIELD_LIMIT, line=True) or '-'}"
        for field in content.fields[:PLAIN_FIELDS_LIMIT]
    ]
    lines = [
        _headline(content),
        fit(content.summary, SECTION_LIMIT),
        *fields,
        safe_link(content.link) or "",
        _footer_text(content),
    ]
    return escape("\n".join(line for line in lines if line.strip()), PLAIN_LIMIT)


def blocks(content: Content, *, used: int = 0) -> list[Block]:
    """Return header, summary, fields, link button and footer. `used` is the length of the fallback text."""
    header = escape(_headline(content), HEADER_LIMIT)
    summary = escape(content.summary, SECTION_LIMIT)
    link = safe_link(content.link)
    button = link if link and width(link) <= URL_LIMIT else None
    more = len(content.fields) - FIELDS_LIMIT
    footer = _footer(content, more=max(more, 0), dropped_link=bool(link) and button is None)
    remaining = TOTAL_LIMIT - used - sum(map(width, (header, summary, footer, button or ""))) - BUTTON_LIMIT
    result: list[Block] = [HeaderBlock(text=PlainTextObject(text=header, emoji=True))]
    if summary:
        result.append(SectionBlock(text=_verbatim(summary)))
    if content.fields:
        result.append(
            SectionBlock(fields=[_verbatim(text) for text in _fields(content.fields[:FIELDS_LIMIT], remaining)])
        )
    if button:
        result.append(ActionsBlock(elements=[ButtonElement(text="Open", url=button, action_id="open")]))
    return [*result, ContextBlock(elements=[_verbatim(footer)])]


def _verbatim(text: str) -> MarkdownTextObject:
    """Return a text object in which Slack looks for no mentions, channels or links."""
    return MarkdownTextObject(text=text, verbatim=True)


def _fields(fields: tuple[Field, ...], remaining: int) -> list[str]:
    """Return each field's text. Fields that don't fit together get equal shares of the remaining length."""
    texts = [_field(field) for field in fields]
    if sum(map(width, texts)) <= remaining:
        return texts
    return [cut(text, remaining // len(texts)) for text in texts]


def _field(field: Field) -> str:
    name = escape(_name(field).replace("*", "∗"), NAME_LIMIT)
    return cut(f"*{name}*\n{escape(field.value, FIELD_LIMIT) or '-'}", FIELD_LIMIT)


def _name(field: Field) -> str:
    return fit(field.name, NAME_LIMIT, line=True) or "-"


def _headline(content: Content) -> str:
    title = fit(content.title, FALLBACK_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True) or "Alert"
    return f"{EMOJI[content.severity]} {SEVERITY_NAME[content.severity]}: {title}"


def _footer_text(content: Content) -> str:
    when = f"{content.occurred_at.astimezone(UTC).isoformat(' ')[:16]} UTC"
    notes = [fit(note, NOTE_LIMIT, line=True) for note in content.notes[:NOTES_LIMIT]]
    return " · ".join(filter(None, (*notes, fit(content.event_type, NAME_LIMIT, line=True), when)))


def _footer(content: Content, *, more: int, dropped_link: bool) -> str:
    remarks = [f"+{more} more" if more else "", "link too long to show" if dropped_link else ""]
    return escape(" · ".join(filter(None, (*remarks, _footer_text(content)))), FOOTER_LIMIT)
