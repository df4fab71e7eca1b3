"""Messages in threads: the arguments of a reply, and the edited message of a root."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    PlainTextObject,
    RichTextElement,
    RichTextElementParts,
)

from alertctl.channels.base import ThreadRoot
from alertctl.channels.slack.blocks import (
    BOLD,
    COMPACT_LIMIT,
    EMOJI,
    HEADER_LIMIT,
    SEVERITY_NAME,
    Text,
    escape,
    fallback_text,
    headline,
    link_element,
    rich_text,
    usable_link,
    utc,
)
from alertctl.content import Content, Severity
from alertctl.text import fit, width

STEP_LIMIT = 300
SUBJECT_LIMIT = 300
SEPARATOR = " · "
"""Between the parts of a compact message's second line."""


def reply_arguments(root: ThreadRoot, *, broadcast: bool) -> dict[str, Any]:
    """Return the arguments of chat.postMessage that make a message a reply."""
    arguments: dict[str, Any] = {"channel": root.provider_channel, "thread_ts": root.root_ts}
    return arguments | {"reply_broadcast": True} if broadcast else arguments


def root_update(root: ThreadRoot, contents: Sequence[Content], earlier: int) -> dict[str, Any]:
    """Return the payload of chat.update: the newest event's title, and a line for each event, oldest first.

    In the style `compact` all events share the second line.
    """
    blocks = _compact_blocks(contents, earlier) if root.style == "compact" else _blocks(contents, earlier)
    return {
        "channel": root.provider_channel,
        "ts": root.root_ts,
        "text": fallback_text(contents[-1]),
        "parse": "none",
        "link_names": False,
        "blocks": [block.to_dict() for block in blocks],
    }


def _blocks(contents: Sequence[Content], earlier: int) -> list[Block]:
    newest = contents[-1]
    steps: list[RichTextElement] = [Text(text=f"… {earlier} earlier\n")] if earlier else []
    for content in contents:
        line_break = "" if content is newest else "\n"
        steps += [_time(content), Text(text=f"  {_step(content)}{line_break}")]
    link = next(filter(None, map(usable_link, reversed(contents))), "")
    subject = escape(newest.subject, SUBJECT_LIMIT, line=True)
    return [
        HeaderBlock(text=PlainTextObject(text=escape(_title(newest), HEADER_LIMIT), emoji=False)),
        rich_text(*steps),
        *([rich_text(link_element(link))] if link else []),
        *([ContextBlock(elements=[PlainTextObject(text=subject, emoji=False)])] if subject else []),
    ]


def _compact_blocks(contents: Sequence[Content], earlier: int) -> list[Block]:
    steps = [_step(content) for content in contents]
    while len(steps) > 1 and width(SEPARATOR.join(steps)) > COMPACT_LIMIT:
        del steps[0]
        earlier += 1
    parts = [f"… {earlier} earlier", *steps] if earlier else steps
    link = next(filter(None, map(usable_link, reversed(contents))), "")
    return [
        rich_text(
            Text(text=_title(contents[-1]), style=BOLD),
            Text(text=f"\n{fit(SEPARATOR.join(parts), COMPACT_LIMIT, line=True)}"),
            *([Text(text=SEPARATOR), link_element(link)] if link else []),
        )
    ]


def _title(content: Content) -> str:
    """Return the title with a mark of the state; from `warning` up with the severity."""
    has_state = content.state_mark and content.severity is Severity.INFO
    return f"{content.state_mark} {fit(content.title, HEADER_LIMIT, line=True)}" if has_state else headline(content)


def _time(content: Content) -> RichTextElement:
    """Return the time of the event in the reader's zone."""
    epoch = int(content.occurred_at.timestamp())
    if epoch < 0:
        return Text(text=utc(content))
    return RichTextElementParts.Date(timestamp=epoch, format="{date_short_pretty} {time}", fallback=utc(content))


def _step(content: Content) -> str:
    """Return the new state, after the severity unless that is `info`."""
    severity = content.severity
    mark = "" if severity is Severity.INFO else f"{EMOJI[severity]} {SEVERITY_NAME[severity]}: "
    return f"{mark}{fit(content.step or content.title, STEP_LIMIT, line=True)}"
