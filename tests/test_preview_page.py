"""The preview page shows messages as they are, and nothing in a message becomes part of the page."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from hypothesis import given

from alertctl.channels.base import Mention, OutgoingMessage
from alertctl.channels.email.message import Sender, preview
from alertctl.channels.slack.blocks import slack_message
from alertctl.content import Content
from alertctl.preview_page import preview_page
from alertctl.schemas import Rendered
from tests.support.cases import each
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import NASTY, content, contents
from tests.support.providers import ALERT, SENDER

OUTGOING = OutgoingMessage("delivery-1", "dev@corp.example", routing_reason="admin_email")


class Page(HTMLParser):
    """The tags of a page, the attributes of its frames, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.frames: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag == "iframe":
            self.frames.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(channel: str, message: dict[str, Any]) -> Rendered:
    return Rendered(channel=channel, to="#a", routing_reason="named", suppressed_reason=None, message=message)


def page_of(alert: Content) -> Page:
    mail = preview(alert, OUTGOING, Sender(SENDER))
    return Page(preview_page([rendered("slack", slack_message(alert, OUTGOING)), rendered("email", mail)]))


def test_a_page_shows_each_message_in_both_themes_and_widths() -> None:
    page = page_of(ALERT)
    assert page.text.count("🚨 Safety rollback: checkout-v3") == 4
    assert page.text.count("Open on flags.corp.example") == 4
    assert page.text.count("2026-03-02 14:32 UTC") == 4
    assert page.text.count("You receive this because") == 1, "the text part"
    assert len(page.frames) == 4
    mail = preview(ALERT, OUTGOING, Sender(SENDER))["html"]
    for frame in page.frames:
        assert frame["srcdoc"] == mail
        assert frame["sandbox"] is None, "no script, no form, no link that leaves the frame"


def test_a_page_shows_mentions_and_plain_messages() -> None:
    mention = replace(OUTGOING, mentions=(Mention("S0123ABC", "S0123ABC"), Mention("ana@corp.example", "U1")))
    page = Page(preview_page([rendered("slack", slack_message(ALERT, mention))], ["dark"], [375]))
    assert "@S0123ABC" in page.text
    assert "@U1" in page.text
    text_only = Page(preview_page([rendered("slack", {"text": "down &amp; out"})], ["dark"], [375]))
    assert "down & out" in text_only.text


TAGS = {"html", "head", "meta", "title", "style", "body", "div", "h2", "span", "b", "br", "a", "iframe"}


@fixed_examples(15)
@given(contents())
def test_hostile_content_never_adds_a_tag_or_a_script(alert: Content) -> None:
    assert_nothing_added(page_of(alert))


@each("nasty", NASTY)
def test_hostile_text_in_every_field_never_adds_a_tag_or_a_script(nasty: str) -> None:
    assert_nothing_added(page_of(content(nasty, nasty, nasty, nasty)))


def assert_nothing_added(page: Page) -> None:
    assert page.tags <= TAGS
    assert not any(attribute.startswith("on") for attribute in page.attributes)
    assert all(link.lower().startswith(("http://", "https://")) for link in page.links)
