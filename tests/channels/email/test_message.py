"""The contents of an email, and what hostile content cannot add to it."""

from __future__ import annotations

import email
import email.policy
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import alertctl
from alertctl.addresses import is_email
from alertctl.channels.base import MessageOptions, OutgoingMessage
from alertctl.channels.email.message import (
    ACCENTS,
    RenderedEmail,
    Sender,
    display_name,
    message_id,
    render_email,
    serialize_email,
    subject,
    text_colour,
)
from alertctl.config.checks import contrast_on_white
from alertctl.content import Content, Field, Severity
from tests.support.cases import each
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import NASTY, TEXTS, content, contents
from tests.support.providers import ALERT, SENDER

NOW = datetime(2026, 3, 2, 14, 33, tzinfo=UTC)
FROM = Sender(SENDER, "Corp Alerts")
HEADERS = [
    "To",
    "Message-ID",
    "Date",
    "From",
    "Subject",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]
MANY = fixed_examples(15, long=500)


def raw(alert: Content, *, address: str = "dev@corp.example", sender: Sender = FROM, plain: bool = False) -> bytes:
    return serialize_email(alert, OutgoingMessage("delivery-1", address, plain, "admin_email"), sender, NOW)


def rendered(alert: Content, reason: str = "You receive this because of a test.", plain: bool = False) -> RenderedEmail:
    return render_email(alert, reason, plain)


def parsed(data: bytes) -> EmailMessage:
    return cast(EmailMessage, email.message_from_bytes(data, policy=email.policy.default))


class Markup(HTMLParser):
    """The tags and addresses of an HTML text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.style = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.style += re.sub(r"#[0-9a-f]{6}", "#", data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


TEMPLATE_TAGS = {"html", "head", "meta", "title", "style", "body", "div", "p", "h1"} | {
    *("table", "tr", "th", "td", "a", "br")
}


@pytest.mark.timeout(1800)
@fixed_examples(50, long=10_000)
@given(contents())
@example(content(*["\r\nBcc: victim@corp.example"] * 4))
def test_hostile_content_stays_text_and_within_limits(alert: Content) -> None:
    email = rendered(alert)
    assert set(re.findall(r"<[^\s>]*", email.html)) <= {
        f"<{slash}{tag}" for tag in TEMPLATE_TAGS for slash in ("", "/")
    } | {"<!doctype"}
    links = re.findall(r' href="([^"]*)"', email.html)
    assert len(links) <= 1
    assert all(link.lower().startswith(("http://", "https://")) for link in links)
    assert 1 <= len(email.subject) <= 200
    assert not set(email.subject) & set("\r\n\0")
    assert len(email.html) < 1_500_000
    assert len(email.text) < 400_000


@MANY
@given(contents(), TEXTS, st.booleans())
@example(content(*["\r\nBcc: victim@corp.example"] * 4), "x\r\nBcc: v@x.example", False)
def test_hostile_content_never_adds_a_header_a_tag_or_a_script(alert: Content, name: str, plain: bool) -> None:
    data = raw(alert, sender=Sender(SENDER, name), plain=plain)
    message = parsed(data)
    expected = HEADERS if not plain else [*HEADERS[:7], "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
    in_thread = ["In-Reply-To", "References"] if alert.subject_key else []
    assert sorted(message.keys()) == sorted([*expected, *in_thread])
    assert message["To"] == "dev@corp.example"
    assert "\0" not in message["Subject"]
    assert len(rendered(alert, plain=plain).subject) <= 200
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    markup = Markup(rendered(alert, plain=plain).html)
    assert markup.tags <= TEMPLATE_TAGS
    assert not any(attribute.startswith("on") for attribute in markup.attributes)
    assert all(link.lower().startswith(("http://", "https://")) for link in markup.links)
    assert markup.style == Markup(rendered(ALERT).html).style or plain


@each("nasty", NASTY)
def test_a_hostile_name_leaves_one_sender(nasty: str) -> None:
    message = parsed(raw(ALERT, sender=Sender(SENDER, nasty)))
    assert [address.addr_spec for address in message["From"].addresses] == [SENDER]
    assert not set(display_name(nasty)) & set(',;<>"\\\r\n\0')


def test_text_comes_before_html_and_both_are_complete() -> None:
    parts = list(parsed(raw(ALERT.with_notes("This is a test"))).iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    for part in parts:
        body = cast(EmailMessage, part).get_content()
        for piece in ("Critical", ALERT.title, "error_rate was 7.143%", "Environment", "production", "This is a test"):
            assert piece in body
    assert ALERT.link in cast(EmailMessage, parts[0]).get_content()
    assert Markup(cast(EmailMessage, parts[1]).get_content()).links == [ALERT.link]


def test_the_plain_variant_has_no_html() -> None:
    assert parsed(raw(ALERT, plain=True)).get_content_type() == "text/plain"


def test_the_headers_that_a_mail_of_a_machine_needs() -> None:
    message = parsed(raw(ALERT))
    assert message["Subject"] == "[Critical] Safety rollback: checkout-v3"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == "<delivery-1@corp.example>"
    assert message["Date"].datetime == NOW
    assert str(message["From"]) == "Corp Alerts <alerts@corp.example>"


@MANY
@given(st.lists(st.sampled_from(["Größe", "übersteigt", "ä", "limit", "障害", "🎉", "=?utf-8?q?x?=", "a:b", "x" * 30])))
def test_a_subject_and_a_senders_name_are_parsed_as_they_were_written(words: list[str]) -> None:
    alert, sender = replace(ALERT, title=" ".join(words)), Sender(SENDER, " ".join(words[:8]))
    data = raw(alert, sender=sender, plain=True)
    assert parsed(data)["Subject"] == subject(alert)
    # Not by the newer parser: in a name it leaves the blanks between encoded words, against RFC 2047, 6.2.
    name, address = parseaddr("".join(email.message_from_bytes(data)["From"].splitlines()))
    assert (str(make_header(decode_header(name))), address) == (display_name(sender.name), SENDER)
    assert max(map(len, data.splitlines())) <= 78


def test_the_message_id_stays_the_same_over_attempts_and_differs_between_deliveries() -> None:
    assert message_id("a", FROM) == message_id("a", FROM) != message_id("b", FROM)
    assert re.fullmatch(r"<[\w.-]+@corp\.example>", message_id("x\r\n<y>@z", FROM))


def test_the_body_is_made_once_an_event() -> None:
    first, second = raw(ALERT), raw(ALERT, address="ops@corp.example")
    assert first.partition(b"From:")[2] == second.partition(b"From:")[2]


REASONS = {
    "admin_email": "this address is a default recipient (NOTIFICATION_ADMIN_EMAILS)",
    "user_email": "your preferences include safety_rollback by email",
    "named": "the sender of this safety_rollback named this address",
    "route": "the route pay-oncall sends safety_rollback to this address",
    "label": "a label of this safety_rollback names this address",
    "test": "this address was the target of a test",
    "of_another_version": "this address is a recipient of safety_rollback",
}


@pytest.mark.parametrize(("routing_reason", "because"), REASONS.items())
def test_a_message_tells_its_recipient_why_they_receive_it(routing_reason: str, because: str) -> None:
    outgoing = OutgoingMessage("d", "dev@corp.example", routing_reason=routing_reason, route="pay-oncall")
    message = parsed(serialize_email(ALERT, outgoing, FROM, NOW))
    text, html = (cast(EmailMessage, part).get_content() for part in message.iter_parts())
    assert text.strip().endswith(f"You receive this because {because}.")
    assert f"You receive this because {because}." in unescape(html)


def test_messages_about_a_subject_are_one_thread_for_every_recipient_and_event() -> None:
    first = replace(ALERT, subject_key="ab12")
    later = replace(first, event_id="2", title="Rollout advanced: checkout-v3")
    threads = {
        tuple(parsed(raw(alert, address=address)).get_all(name) or ())
        for alert in (first, later)
        for address in ("a@x.example", "b@x.example")
        for name in ("References", "In-Reply-To")
    }
    assert threads == {("<subject-ab12@corp.example>",)}
    assert parsed(raw(later))["Subject"] == "[Critical] Rollout advanced: checkout-v3"
    assert parsed(raw(replace(first, subject_key="cd34")))["References"] == "<subject-cd34@corp.example>"


def test_a_message_without_a_subject_or_threads_is_in_no_thread() -> None:
    outgoing = OutgoingMessage("d", "dev@corp.example", options=MessageOptions(threads=False))
    alone = serialize_email(replace(ALERT, subject_key="ab12"), outgoing, FROM, NOW)
    for data in (raw(ALERT), alone):
        assert parsed(data)["References"] is None
        assert parsed(data)["In-Reply-To"] is None


def test_fields_that_the_summary_states_are_left_out() -> None:
    fields = (Field("Environment", "production", "in production"), Field("Region", "eu-west-1"))
    email = rendered(replace(ALERT, fields=fields))
    assert "Region: eu-west-1" in email.text
    assert "Environment" not in email.text + email.html


def test_a_bare_title_is_shown_once() -> None:
    email = rendered(replace(ALERT, title="Disk full", summary="Disk full."))
    assert email.text.count("Disk full") == 1
    body = email.html.partition("<body")[2]
    assert body.count("Disk full") == 1


def test_the_inbox_shows_the_summary_beside_the_subject() -> None:
    hidden = re.search(r'<div style="display:none[^>]*>(.*?)</div>', rendered(ALERT).html)
    assert hidden is not None
    assert hidden[1] == ALERT.summary
    only_title = replace(ALERT, summary=ALERT.title, fields=(Field("Source", "db-7"), Field("Log", "a\nb")))
    assert "Source: db-7, Log: a b" in rendered(only_title).html


def test_a_link_names_the_host_that_it_leads_to() -> None:
    html = rendered(replace(ALERT, link="https://bank.example@evil.example:8443/bank.example")).html
    assert re.search(r"<a [^>]*>Open on evil\.example:8443</a>", html)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2); text needs 4.5."""
    lighter, darker = sorted((brightness(colour) for colour in (first, second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def brightness(colour: str) -> float:
    return 1.05 / contrast_on_white(colour) - 0.05


@pytest.mark.parametrize("severity", list(Severity))
def test_the_severity_is_readable_in_both_themes(severity: Severity) -> None:
    light, dark = ACCENTS[severity]
    assert contrast(light, "#ffffff") >= 4.5
    assert contrast(dark, "#1d1d20") >= 4.5


@MANY
@given(st.integers(0, 0xFFFFFF))
def test_text_is_readable_on_any_accent(number: int) -> None:
    accent = f"#{number:06x}"
    assert contrast(accent, text_colour(accent)) >= 4.5


def test_labels_and_keys_are_shown_as_they_were_written() -> None:
    alert = replace(
        ALERT, labels=(("team", "growth"), ("Cost-Center", "a=b")), fields=(Field("http.status_CODE", "5"),)
    )
    email = rendered(alert)
    for body in (email.text, email.html):
        for part in ("team=growth", "Cost-Center=a=b", "http.status_CODE"):
            assert part in body


def test_a_javascript_link_is_dropped() -> None:
    assert "javascript" not in rendered(replace(ALERT, link="javascript:alert(1)")).html


def test_template_syntax_stays_text() -> None:
    email = rendered(replace(ALERT, title="{{ 7*7 }} {% for x in y %}"))
    assert "{{ 7*7 }} {% for x in y %}" in email.text
    assert "49" not in email.text


def test_many_fields_are_counted_and_long_ones_cut() -> None:
    email = rendered(replace(ALERT, fields=tuple(Field(f"n{i}", "v" * 9000) for i in range(60))))
    assert "+10 more" in email.text
    assert "…" in email.text
    assert len(email.html) < 400_000


@pytest.mark.parametrize("address", ["", "a@x.example, b@y.example", "a@x.example\r\nBcc: b@y.example", "a@☃.example"])
def test_an_address_that_is_not_exactly_one_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not a single email address|IDNA"):
        raw(ALERT, address=address)


@MANY
@given(TEXTS)
def test_every_valid_address_is_one_recipient(text: str) -> None:
    address = f"{text[:60]}@corp.example"
    if is_email(address) and address.isascii():
        message = parsed(raw(ALERT, address=address))
        assert len(message["To"].addresses) == 1


def test_templates_are_read_when_the_channel_is_built_and_never_again(tmp_path):
    """A process whose templates disappear after the start still renders."""
    code = """
import sys, shutil
sys.path.insert(0, sys.argv[1])
from datetime import UTC, datetime
import alertctl
from alertctl.channels.base import OutgoingMessage
from alertctl.channels.email.message import Sender
from alertctl.channels.email.smtp import SmtpChannel
from alertctl.channels.email.smtp_session import SmtpServer
from alertctl.content import Content, Severity
assert alertctl.__file__.startswith(sys.argv[1])
channel = SmtpChannel(SmtpServer("127.0.0.1", 25), Sender("alerts@corp.example"))
shutil.rmtree(sys.argv[1] + "/alertctl/channels/email/templates")
content = Content("generic_alert", "1", "Disk full", "It is.", Severity.INFO, (), datetime.now(UTC))
print("Disk full" in channel.render(content, OutgoingMessage("1", "a@corp.example"))["html"])
"""
    package = Path(alertctl.__file__).parent
    shutil.copytree(package, tmp_path / "alertctl", ignore=shutil.ignore_patterns("__pycache__"))
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert (ran.stdout.strip(), ran.stderr) == ("True", "")


def test_lines_keep_their_breaks_in_outlook_and_its_mailboxes_do_not_answer() -> None:
    alert = replace(ALERT, summary="first <b>\nsecond", fields=(Field("Log", "a\nb & c"),))
    html = rendered(alert).html
    assert "first &lt;b&gt;<br>second" in html
    assert "a<br>b &amp; c" in html
    assert "pre-line" not in html
    assert b"\r\nX-Auto-Response-Suppress: All\r\n" in raw(alert)
