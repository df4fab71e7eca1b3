"""Content as an email: plain text first, then HTML; headers that nothing hostile can break out of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from alertctl.addresses import check_email, encode_email, is_email
from alertctl.content import Content, Severity
from alertctl.text import fit, safe_link

SUBJECT_LIMIT = 200
SUMMARY_LIMIT = 20_000
NAME_LIMIT = 200
VALUE_LIMIT = 5000
FIELDS_LIMIT = 50
NOTE_LIMIT = 500
NOTES_LIMIT = 20
LINK_LIMIT = 3000

_COLOURS = {
    Severity.INFO: "#2563eb",
    Severity.WARNING: "#b45309",
    Severity.ERROR: "#b91c1c",
    Severity.CRITICAL: "#991b1b",
}
_PHRASE = re.compile(r"[\w !#$%&'*+/=?^`{|}~-]+", re.ASCII)
_ID_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")

TEMPLATES = ("alert.txt", "alert.html")
_templates = Environment(
    loader=PackageLoader("alertctl.channels.email", "templates"),
    auto_reload=False,
    autoescape=lambda name: name is not None and name.endswith(".html"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def load_templates() -> None:
    """Read and compile the templates now, so that no later failure of the disk or of memory ends an alert."""
    for name in TEMPLATES:
        _templates.get_template(name)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who an email is from. `name` may be empty."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        return _id_domain(self.address)


@lru_cache(maxsize=8)
def _id_domain(address: str) -> str:
    return _ID_UNSAFE.sub("", encode_email(address).rpartition("@")[2]) or "alertctl.invalid"


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """What an email says: the same for everyone who gets it. Everything is cleaned and cut."""

    subject: str
    text: str
    html: str


def message_id(delivery_id: str, sender: Sender) -> str:
    """The same for every attempt at a delivery, so that a mail server can tell a repeat."""
    safe = delivery_id if delivery_id.replace("-", "0").isalnum() and delivery_id.isascii() else ""
    return f"<{(safe or _ID_UNSAFE.sub('-', delivery_id))[:100] or 'delivery'}@{sender.domain}>"


@lru_cache(maxsize=64)
def render_email(content: Content, plain: bool = False) -> RenderedEmail:
    """The email that tells this content. `plain` leaves the HTML out (empty). Kept, for an event's next recipients."""
    known = {
        "title": fit(content.title, SUBJECT_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True),
        "summary": fit(content.summary, SUMMARY_LIMIT),
        "severity": content.severity.value.capitalize(),
        "colour": _COLOURS[content.severity],
        "fields": [
            (fit(f.name, NAME_LIMIT, line=True), fit(f.value, VALUE_LIMIT)) for f in content.fields[:FIELDS_LIMIT]
        ],
        "more": max(0, len(content.fields) - FIELDS_LIMIT),
        "link": _link(content.link),
        "notes": [fit(note, NOTE_LIMIT, line=True) for note in content.notes[:NOTES_LIMIT]],
        "event_type": fit(content.event_type, NAME_LIMIT, line=True),
        "event_id": fit(content.event_id, NAME_LIMIT, line=True),
        "occurred_at": content.occurred_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    text = _templates.get_template("alert.txt").render(known)
    html = "" if plain else _templates.get_template("alert.html").render(known)
    return RenderedEmail(subject(content), text, html)


def subject(content: Content) -> str:
    """One line, at most 200 characters; the severity in words comes first."""
    title = fit(content.title, SUBJECT_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True) or "Alert"
    return fit(f"[{content.severity.value.capitalize()}] {title}", SUBJECT_LIMIT, line=True)


def serialised(
    content: Content, delivery_id: str, address: str, sender: Sender, now: datetime, *, plain: bool
) -> bytes:
    """One delivery's email as it goes over the wire: its own headers before what is made once an event.

    Raises ValueError for an address that isn't exactly one address.
    """
    check_email(address)
    own = {"To": encode_email(address), "Message-ID": message_id(delivery_id, sender), "Date": format_datetime(now)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
    return lines.encode() + _shared(content, sender, plain)


def headers(content: Content, delivery_id: str, address: str, sender: Sender, now: datetime) -> dict[str, str]:
    """The same headers for people: what `--dry-run` and `log show --rendered` print."""
    return {
        "From": str(_author(sender)),
        "To": encode_email(address) if is_email(address) else "",
        "Subject": subject(content),
        "Date": format_datetime(now),
        "Message-ID": message_id(delivery_id, sender),
        "Auto-Submitted": "auto-generated",
    }


def _author(sender: Sender) -> Address:
    return Address(display_name=display_name(sender.name), addr_spec=encode_email(sender.address))


def display_name(name: str) -> str:
    """A name fit for From: one line, none of what separates addresses (SendGrid refuses `;` and `,`)."""
    return fit(re.sub(r"[,;<>\"\\]", " ", name), 100, line=True)


@lru_cache(maxsize=64)
def _shared(content: Content, sender: Sender, plain: bool) -> bytes:
    """The headers and the MIME body that all recipients of an event share: most of the work, done once an event."""
    said = render_email(content, plain)
    message = EmailMessage(policy=SMTP)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(said.text, cte="quoted-printable")
    if said.html:
        message.add_alternative(said.html, subtype="html", cte="quoted-printable")
    return f"From: {_mailbox(sender)}\r\nSubject: {_encoded(said.subject)}\r\n".encode() + message.as_bytes()


def _encoded(line: str) -> str:
    """A header's text in encoded words where it needs them, folded.

    EmailMessage's own folding loses and adds spaces between encoded words (Python 3.11), and takes a title that looks
    like one for one.
    """
    plain = line.isascii() and "=?" not in line
    return Header(line, "us-ascii" if plain else "utf-8", header_name="From, Subject").encode(linesep="\r\n")


def _mailbox(sender: Sender) -> str:
    """The one address of From, with its name before it."""
    name, address = display_name(sender.name), encode_email(sender.address)
    if not name:
        return address
    needs_quotes = name.isascii() and "=?" not in name and not _PHRASE.fullmatch(name)
    # Nothing to escape between the quotes: such a name holds neither quotes nor backslashes.
    return f'"{name}"\r\n <{address}>' if needs_quotes else f"{_encoded(name)}\r\n <{address}>"


def _link(link: str | None) -> str:
    safe = safe_link(link) or ""
    return safe if len(safe) <= LINK_LIMIT else ""
