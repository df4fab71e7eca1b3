"""Mentions of people and user groups, as Slack's markup and as elements of rich text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from slack_sdk.models.blocks import RichTextElement, RichTextElementParts

from alertctl.channels.base import Mention
from alertctl.config.validators import MAX_MENTIONS
from alertctl.text import fit

NAME_LIMIT = 100
_ID = re.compile(r"[A-Z][A-Z0-9]{1,30}")


def mention_text(mentions: Sequence[Mention]) -> str:
    """Return each person and group once in Slack's markup, those without an id as plain text."""
    return " ".join(_markup(provider_id) if provider_id else _escaped(name) for name, provider_id in _unique(mentions))


def mention_elements(mentions: Sequence[Mention]) -> Iterator[RichTextElement]:
    """Yield the same as elements of rich text, separated by spaces."""
    for index, (name, provider_id) in enumerate(_unique(mentions)):
        if index:
            yield RichTextElementParts.Text(text=" ")
        if not provider_id:
            yield RichTextElementParts.Text(text=name)
        elif _is_group(provider_id):
            yield RichTextElementParts.UserGroup(usergroup_id=provider_id)
        else:
            yield RichTextElementParts.User(user_id=provider_id)


def _unique(mentions: Sequence[Mention]) -> list[tuple[str, str]]:
    """Return name and id of each mention: a valid id without a name, else the name without an id."""
    pairs = []
    for mention in mentions:
        provider_id = mention.provider_id if _ID.fullmatch(mention.provider_id or "") else ""
        pairs.append(("" if provider_id else fit(mention.text, NAME_LIMIT, line=True), provider_id or ""))
    return [pair for pair in dict.fromkeys(pairs) if any(pair)][:MAX_MENTIONS]


def _is_group(provider_id: str) -> bool:
    return provider_id.startswith("S")


def _markup(provider_id: str) -> str:
    return f"<!subteam^{provider_id}>" if _is_group(provider_id) else f"<@{provider_id}>"


def _escaped(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
