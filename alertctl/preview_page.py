"""A page that shows messages as Slack and a mail program do: light and dark, on a phone and on a desktop."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader

from alertctl.channels.email.custom_templates import line_breaks
from alertctl.channels.slack import plain_text
from alertctl.schemas import Rendered

THEMES = ("light", "dark")
WIDTHS = (375, 800)
"""Pixels: a phone and a desktop."""


def preview_page(messages: Sequence[Rendered], themes: Sequence[str] = THEMES, widths: Sequence[int] = WIDTHS) -> str:
    """Return an HTML page with each message in each theme and width. It loads nothing and runs no script."""
    environment = Environment(loader=PackageLoader("alertctl"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["lines"] = line_breaks
    environment.filters["plain"] = plain_text
    return environment.get_template("preview_page.html").render(messages=messages, themes=themes, widths=widths)
