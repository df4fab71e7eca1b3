"""A page that shows messages as Slack and a mail program do: light and dark, on a phone and on a desktop."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from alertctl.schemas import Rendered

THEMES = ("light", "dark")
WIDTHS = (375, 800)
"""Pixels: a phone and a desktop."""

_MARKUP = re.compile(r"<([^<>]*)>")
_STYLES = (
    (re.compile(r"`([^`\n]+)`"), r"<code>\1</code>"),
    (re.compile(r"(?<!\w)\*([^*\n]+)\*(?!\w)"), r"<b>\1</b>"),
    (re.compile(r"(?<!\w)_([^_\n]+)_(?!\w)"), r"<i>\1</i>"),
    (re.compile(r"(?<!\w)~([^~\n]+)~(?!\w)"), r"<s>\1</s>"),
)
_DATE = re.compile(r"!date\^[^|]*\|(.*)")


def preview_page(messages: Sequence[Rendered], themes: Sequence[str] = THEMES, widths: Sequence[int] = WIDTHS) -> str:
    """Return an HTML page with each message in each theme and width. It loads nothing and runs no script."""
    environment = Environment(loader=PackageLoader("alertctl"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["mrkdwn"] = mrkdwn_html
    environment.filters["lines"] = lambda text: Markup("<br>").join(str(text).split("\n"))
    environment.filters["unescape"] = html.unescape
    return environment.get_template("preview_page.html").render(messages=messages, themes=themes, widths=widths)


def mrkdwn_html(text: str) -> Markup:
    """Return text in Slack's markup as HTML."""
    parts = _MARKUP.split(text)
    # Every second part is between angle brackets.
    return Markup("").join(_control(part) if index % 2 else _styled(part) for index, part in enumerate(parts))


def _styled(text: str) -> Markup:
    shown = str(escape(html.unescape(text)))
    for pattern, replacement in _STYLES:
        shown = pattern.sub(replacement, shown)
    return Markup(shown.replace("\n", "<br>"))


def _control(sequence: str) -> Markup:
    """Return a link, a mention or a date: the part of Slack's markup between angle brackets."""
    target, _, label = sequence.partition("|")
    if date := _DATE.fullmatch(sequence):
        return escape(html.unescape(date[1]))
    if target.startswith(("https://", "http://", "mailto:")):
        return Markup('<a href="{}">{}</a>').format(html.unescape(target), html.unescape(label or target))
    name = label or target.lstrip("@#!").removeprefix("subteam^")
    return Markup('<span class="mention">{}{}</span>').format("#" if target.startswith("#") else "@", name)
