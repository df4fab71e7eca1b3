"""Mentions of people and user groups as Slack's markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alertctl.channels.base import Mention
from alertctl.text import fit, width

TEXT_LIMIT = 1000
"""The length of all mentions together; those beyond it are left out."""
NAME_LIMIT = 100
_ID = re.compile(r"[A-Z][A-Z0-9]{1,30}")


def mention_text(mentions: Sequence[Mention]) -> str:
    """Return each person and group once, separated by spaces: as a mention, or as plain text without an id."""
    texts: list[str] = []
    remaining = TEXT_LIMIT
    for text in dict.fromkeys(map(_mention, mentions)):
        remaining -= width(text) + 1
        if remaining >= 0:
            texts.append(text)
    return " ".join(texts)


def _mention(mention: Mention) -> str:
    provider_id = mention.provider_id or ""
    if _ID.fullmatch(provider_id):
        return f"<!subteam^{provider_id}>" if provider_id.startswith("S") else f"<@{provider_id}>"
    return fit(mention.text, NAME_LIMIT, line=True).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
