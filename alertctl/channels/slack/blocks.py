"""Render content as a Slack message: Block Kit within Slack's limits, in which an event's text is only text.

The texts of an event are in rich_text and plain_text, where Slack looks for no markup, mentions, links or emoji names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    RichTextBlock,
    RichTextElement,
    RichTextElementParts,
    RichTextSectionElement,
)

from alertctl.addresses import encode_slack_channel, link_host
from alertctl.channels.base import OutgoingMessage
from alertctl.channels.slack.mentions import mention_elements, mention_text
from alertctl.content import Content, Field, Severity, full_stop
from alertctl.text import cut, fit, safe_link, width

# https://docs.slack.dev/reference/block-kit/blocks; all in UTF-16 units, counted after escaping
HEADER_LIMIT = 150
SUMMARY_LIMIT = 3000
FIELD_LIMIT = 2000
FIELDS_LIMIT = 10
FIELD_PUNCTUATION = 3
"""Line break, colon and blank of a field."""
URL_LIMIT = 3000
LINK_TEXT_LIMIT = 100
TIME_LIMIT = 100
TOTAL_LIMIT = 10_000
"""The text of a message in total. Slack's own limit for all blocks is about 13 000 (measured)."""

NAME_LIMIT = 75
NOTE_LIMIT = 200
NOTES_LIMIT = 10
LABEL_LIMIT = 60
LABELS_LIMIT = 10
FOOTER_LIMIT = 1200
COMPACT_LIMIT = 300
FALLBACK_LIMIT = 1000
PLAIN_FIELDS_LIMIT = 50
PLAIN_LIMIT = 4000
"""The limit that Slack recommends for `text` (it truncates at 40 000)."""

EMOJI = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🚨"}
SEVERITY_NAME = {severity: severity.value.capitalize() for severity in Severity}

_EMOJI_NAME = re.compile(r":(?=[\w+'-]+:)")
"""The first colon of an emoji's name; an invisible word joiner after it keeps the name text."""

Text = RichTextElementParts.Text
BOLD = RichTextElementParts.TextStyle(bold=True)


def slack_message(content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
    """Return the payload of chat.postMessage. `outgoing.plain` asks for text only, after Slack rejected the blocks."""
    text = plain_text(content) if outgoing.plain else fallback_text(content)
    message: dict[str, Any] = {
        "channel": outgoing.recipient_id or encode_slack_channel(outgoing.address),
        "text": "\n".join(filter(None, (text, mention_text(outgoing.mentions)))),
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if outgoing.plain:
        return message | {"mrkdwn": False}
    elements = list(mention_elements(outgoing.mentions))
    mentions = [rich_text(*elements)] if elements else []
    if outgoing.options.style == "compact":
        blocks = [*compact_blocks(content), *mentions]
    else:
        *main_blocks, footer = full_blocks(content)
        blocks = [*main_blocks, *mentions, footer]
    return message | {
        "blocks": [block.to_dict() for block in blocks],
        "metadata": {"event_type": "alertctl_delivery", "event_payload": {"delivery_id": outgoing.delivery_id}},
    }


def escape(text: str, limit: int, *, line: bool = False) -> str:
    """Escape text so that Slack shows it without mentions and links, at most `limit` long after escaping."""
    fitting = fit(text, limit, line=line)
    return cut(fitting.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), limit)


def fallback_text(content: Content) -> str:
    """Return full sentences for notifications and screen readers."""
    title = headline(content)
    sentences = f"{title}{full_stop(title)} {_summary(content, FALLBACK_LIMIT)}"
    return escape(_without_emoji_names(sentences), FALLBACK_LIMIT, line=True)


def plain_text(content: Content) -> str:
    """Return the complete content as lines of text."""
    summary = _summary(content, SUMMARY_LIMIT)
    fields = [f"{name}: {value}" for name, value in _fields(content.fields_beyond(summary)[:PLAIN_FIELDS_LIMIT])]
    texts = [_without_emoji_names(text) for text in (headline(content), summary, *fields)]
    small_print = _without_emoji_names(" · ".join([*_small_print(content), utc(content)]))
    lines = [*texts, safe_link(content.link) or "", small_print]
    return escape("\n".join(filter(None, lines)), PLAIN_LIMIT)


def full_blocks(content: Content) -> list[Block]:
    """Return the title, the summary, the fields that it does not state, the link, and the footer."""
    header = escape(f"{EMOJI[content.severity]} {_title(content)}", HEADER_LIMIT)
    summary = _summary(content, SUMMARY_LIMIT)
    all_fields = content.fields_beyond(summary)
    link = usable_link(content)
    remarks = [
        f"+{len(all_fields) - FIELDS_LIMIT} more" if len(all_fields) > FIELDS_LIMIT else "",
        "link too long to show" if safe_link(content.link) and not link else "",
    ]
    footer = escape(" · ".join(filter(None, [*remarks, *_small_print(content)])), FOOTER_LIMIT)
    used = FALLBACK_LIMIT + LINK_TEXT_LIMIT + TIME_LIMIT + sum(map(width, (header, summary, footer, link)))
    fields = _shortened(_fields(all_fields[:FIELDS_LIMIT]), TOTAL_LIMIT - used)
    return [
        HeaderBlock(text=PlainTextObject(text=header, emoji=False)),
        *([rich_text(Text(text=summary))] if summary else []),
        *([rich_text(*_field_elements(fields))] if fields else []),
        *([rich_text(link_element(link))] if link else []),
        ContextBlock(elements=[PlainTextObject(text=footer, emoji=False), _time(content)]),
    ]


def compact_blocks(content: Content) -> list[Block]:
    """Return two lines: severity and title; the summary, or without one the fields, with the notes and the link."""
    fields = ", ".join(f"{name}: {value}" for name, value in _fields(content.fields[:FIELDS_LIMIT]))
    parts = [_summary(content, COMPACT_LIMIT) or fields, *_notes(content)]
    second_line = fit(" · ".join(filter(None, parts)), COMPACT_LIMIT, line=True)
    elements: list[RichTextElement] = [Text(text=fit(headline(content), HEADER_LIMIT), style=BOLD)]
    if second_line:
        elements.append(Text(text=f"\n{second_line}"))
    if link := usable_link(content):
        elements += [Text(text=" · " if second_line else "\n"), link_element(link)]
    return [rich_text(*elements)]


def rich_text(*elements: RichTextElement) -> RichTextBlock:
    """Return a block of rich text, in whose `Text` elements Slack reads no markup."""
    return RichTextBlock(elements=[RichTextSectionElement(elements=list(elements))])


def _field_elements(fields: list[tuple[str, str]]) -> list[RichTextElement]:
    """Return each field on a line of its own; a value with line breaks begins on the next line."""
    elements: list[RichTextElement] = []
    for name, value in fields:
        line_break = "\n" if elements else ""
        separator = "\n" if "\n" in value else " "
        elements += [Text(text=f"{line_break}{name}:", style=BOLD), Text(text=f"{separator}{value}")]
    return elements


def _fields(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Return the name and value of each field as a message shows them."""
    return [(fit(field.name, NAME_LIMIT, line=True) or "-", fit(field.value, FIELD_LIMIT) or "-") for field in fields]


def _shortened(fields: list[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
    """Return the fields with values that fit in `limit` together: equal shares for those that don't."""
    total = sum(width(name) + width(value) + FIELD_PUNCTUATION for name, value in fields)
    if total <= limit:
        return fields
    share = limit // len(fields)
    return [(name, cut(value, share - width(name) - FIELD_PUNCTUATION)) for name, value in fields]


def link_element(link: str) -> RichTextElement:
    """Return a safe link with a text that names its host."""
    return RichTextElementParts.Link(url=link, text=f"Open on {link_host(link)}")


def usable_link(content: Content) -> str:
    """Return the safe link, empty without one or if it is too long for a message."""
    link = safe_link(content.link) or ""
    return link if width(link) <= URL_LIMIT else ""


def _time(content: Content) -> MarkdownTextObject:
    """Return the time of the event in the reader's zone; the only text in which Slack reads markup."""
    epoch = int(content.occurred_at.timestamp())
    text = f"<!date^{epoch}^{{date_short_pretty}} {{time}}|{utc(content)}>" if epoch >= 0 else utc(content)
    return MarkdownTextObject(text=text, verbatim=True)


def utc(content: Content) -> str:
    """Return the event's time in UTC, to the minute."""
    return f"{content.occurred_at.astimezone(UTC).isoformat(' ')[:16]} UTC"


def _small_print(content: Content) -> list[str]:
    """Return the severity in a word, the event type, the notes and the labels."""
    labels = [fit(f"{name}={value}", LABEL_LIMIT, line=True) for name, value in content.labels[:LABELS_LIMIT]]
    event_type = fit(content.event_type, NAME_LIMIT, line=True)
    return list(filter(None, [SEVERITY_NAME[content.severity], event_type, *_notes(content), *labels]))


def _notes(content: Content) -> list[str]:
    return [fit(note, NOTE_LIMIT, line=True) for note in content.notes[:NOTES_LIMIT]]


def _summary(content: Content, limit: int) -> str:
    return "" if content.is_only_title else fit(content.summary, limit)


def _title(content: Content) -> str:
    return fit(content.title, FALLBACK_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True) or "Alert"


def headline(content: Content) -> str:
    """Return the severity as emoji and word, and the title."""
    return f"{EMOJI[content.severity]} {SEVERITY_NAME[content.severity]}: {_title(content)}"


def _without_emoji_names(text: str) -> str:
    """Return text for `text` of a message, in which Slack replaces `:fire:` even without markup."""
    return _EMOJI_NAME.sub(":\u2060", text)
