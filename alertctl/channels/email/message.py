"""Render content as an email: plain text, then HTML, with headers that hostile text cannot break out of."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from alertctl.addresses import check_email, encode_email, is_email, link_host
from alertctl.channels import recipient_reason
from alertctl.channels.base import OutgoingMessage
from alertctl.channels.email.custom_templates import NAMES, custom_templates, line_breaks
from alertctl.config.checks import contrast_on_white
from alertctl.content import Content, Severity
from alertctl.text import fit, safe_link

log = logging.getLogger("alertctl.email")
SUBJECT_LIMIT = 200
SUMMARY_LIMIT = 20_000
NAME_LIMIT = 200
VALUE_LIMIT = 5000
FIELDS_LIMIT = 50
NOTE_LIMIT = 500
NOTES_LIMIT = 20
LABELS_LIMIT = 20
PREHEADER_LIMIT = 150
"""What a list of emails shows beside the subject."""
REASON_LIMIT = 300
LINK_LIMIT = 3000
AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
"""Headers that keep mailboxes from answering: RFC 3834, and Exchange's own."""

ACCENTS = {
    Severity.INFO: ("#1d4ed8", "#93c5fd"),
    Severity.WARNING: ("#a16207", "#fcd34d"),
    Severity.ERROR: ("#b91c1c", "#fca5a5"),
    Severity.CRITICAL: ("#991b1b", "#fca5a5"),
}
"""The colour of each severity on a light and on a dark background, both readable as text."""
_PHRASE = re.compile(r"[\w !#$%&'*+/=?^`{|}~-]+", re.ASCII)
_HTML_SPECIAL = re.compile(r'[<>&"]')
_ID_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")

_templates = Environment(
    loader=PackageLoader("alertctl.channels.email", "templates"),
    auto_reload=False,
    autoescape=lambda name: name is not None and name.endswith(".html"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_templates.filters["line_breaks"] = line_breaks


def load_templates(folder: str = "") -> None:
    """Read and compile the templates now, so that a later disk or memory failure cannot lose an alert.

    `folder` is ALERTCTL_TEMPLATES; its templates that can't be used are logged.
    """
    for name in NAMES:
        _templates.get_template(name)
    for name, problem in custom_templates(folder).problems.items():
        log.warning("ALERTCTL_TEMPLATES: %s: %s; the built-in template is used", name, problem)


@dataclass(frozen=True, slots=True)
class Branding:
    """The operator's own look of emails: a logo's URL, a colour (#rrggbb), a folder with templates. Empty: built in."""

    logo_url: str = ""
    accent: str = ""
    templates: str = ""


NO_BRANDING = Branding()


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of an email. `name` may be empty."""

    address: str
    name: str = ""
    branding: Branding = NO_BRANDING

    @property
    def domain(self) -> str:
        """The domain of Message-IDs."""
        return _ID_UNSAFE.sub("", encode_email(self.address).rpartition("@")[2]) or "alertctl.invalid"


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """The subject and body of an email, cleaned and truncated: the same for all recipients.

    `notes` tell which of the operator's own templates failed.
    """

    subject: str
    text: str
    html: str
    notes: tuple[str, ...] = ()


def message_id(delivery_id: str, sender: Sender) -> str:
    """Return the Message-ID, the same for every attempt so that mail servers can detect a duplicate."""
    safe = delivery_id if delivery_id.replace("-", "0").isalnum() and delivery_id.isascii() else ""
    return f"<{(safe or _ID_UNSAFE.sub('-', delivery_id))[:100] or 'delivery'}@{sender.domain}>"


@lru_cache(maxsize=64)
def render_email(content: Content, reason: str, plain: bool = False, branding: Branding = NO_BRANDING) -> RenderedEmail:
    """Return content as an email, cached for the event's next recipients. `plain` leaves the HTML empty.

    `reason` is the sentence of `reason_of`, or the tag that SendGrid replaces by it.
    """
    values = template_values(content, branding) | {"reason": reason}
    text, text_note = _render("alert.txt", values, branding)
    html, html_note = ("", None) if plain else _render("alert.html", values, branding)
    return RenderedEmail(subject(content), text, html, tuple(filter(None, (text_note, html_note))))


def _render(name: str, values: dict[str, Any], branding: Branding) -> tuple[str, str | None]:
    """Return the text of a template, and a note if the operator's own one failed and the built-in one was used."""
    text, note = custom_templates(branding.templates).render(name, values) if branding.templates else (None, None)
    return _templates.get_template(name).render(values) if text is None else text, note


def template_values(content: Content, branding: Branding = NO_BRANDING) -> dict[str, Any]:
    """Return the values that a template sees besides `reason`: clean text, within the limits."""
    title = fit(content.title, SUBJECT_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True)
    summary = "" if content.is_only_title else fit(content.summary, SUMMARY_LIMIT)
    fields = content.fields_beyond(summary)
    shown = [(fit(f.name, NAME_LIMIT, line=True), fit(f.value, VALUE_LIMIT)) for f in fields[:FIELDS_LIMIT]]
    link = _usable_link(content.link)
    colours = ACCENTS[content.severity]
    accent, dark_accent = (branding.accent, branding.accent) if branding.accent else colours
    return {
        "title": title,
        "summary": summary,
        "preheader": fit(summary or ", ".join(f"{name}: {value}" for name, value in shown), PREHEADER_LIMIT, line=True),
        "severity": content.severity.value.capitalize(),
        "severity_colour": colours[0],
        "dark_severity_colour": colours[1],
        "accent": accent,
        "accent_text": text_colour(accent),
        "dark_accent": dark_accent,
        "dark_accent_text": text_colour(dark_accent),
        "logo_url": branding.logo_url,
        "event": _fit_texts(json.loads(content.event_json)),
        "fields": shown,
        "more": max(0, len(fields) - FIELDS_LIMIT),
        "link": link,
        "link_host": link_host(link) if link else "",
        "notes": [fit(note, NOTE_LIMIT, line=True) for note in content.notes[:NOTES_LIMIT]],
        "labels": {
            fit(name, NAME_LIMIT, line=True): fit(value, NAME_LIMIT, line=True)
            for name, value in content.labels[:LABELS_LIMIT]
        },
        "event_type": fit(content.event_type, NAME_LIMIT, line=True),
        "event_id": fit(content.event_id, NAME_LIMIT, line=True),
        "occurred_at": content.occurred_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }


def _fit_texts(value: Any) -> Any:
    """Return a JSON value with its texts clean and within the limits."""
    if isinstance(value, dict):
        return {fit(name, NAME_LIMIT, line=True): _fit_texts(item) for name, item in value.items()}
    return fit(value, SUMMARY_LIMIT) if isinstance(value, str) else value


def text_colour(background: str) -> str:
    """Return black or white, whichever is easier to read on this colour (#rrggbb)."""
    # The contrasts of a colour on white and on black make 21 together when they are multiplied.
    return "#000000" if contrast_on_white(background) < 21**0.5 else "#ffffff"


def reason_of(content: Content, outgoing: OutgoingMessage) -> str:
    """Return the sentence that tells the recipient why they receive this message, safe in text and in HTML."""
    return _reason(outgoing.routing_reason, outgoing.route, content.event_type)


@lru_cache(maxsize=1024)
def _reason(routing_reason: str, route: str | None, event_type: str) -> str:
    sentence = recipient_reason(routing_reason, route, event_type)
    return fit(_HTML_SPECIAL.sub(" ", sentence), REASON_LIMIT, line=True)


def thread_headers(content: Content, outgoing: OutgoingMessage, sender: Sender) -> dict[str, str]:
    """Return the headers that put all messages about a subject into one thread of a mail program.

    They name a message that was never sent: each recipient may have got another first message of the thread.
    """
    if not content.subject_key or outgoing.options.threads is False:
        return {}
    root = f"<subject-{_ID_UNSAFE.sub('-', content.subject_key)[:24]}@{sender.domain}>"
    return {"In-Reply-To": root, "References": root}


def subject(content: Content) -> str:
    """Return the subject: the severity and the title on one line, at most 200 characters."""
    title = fit(content.title, SUBJECT_LIMIT, line=True) or fit(content.event_type, NAME_LIMIT, line=True) or "Alert"
    return fit(f"[{content.severity.value.capitalize()}] {title}", SUBJECT_LIMIT, line=True)


def serialize_email(content: Content, outgoing: OutgoingMessage, sender: Sender, now: datetime) -> bytes:
    """Return a delivery's email as bytes: its own headers, then the part that it shares with other recipients.

    Raises ValueError for an address that isn't exactly one address.
    """
    check_email(outgoing.address)
    own_headers = {
        "To": encode_email(outgoing.address),
        "Message-ID": message_id(outgoing.delivery_id, sender),
        "Date": format_datetime(now),
        **thread_headers(content, outgoing, sender),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in own_headers.items())
    return lines.encode() + _shared_part(content, sender, reason_of(content, outgoing), outgoing.plain)


def notes_of(content: Content, outgoing: OutgoingMessage, sender: Sender) -> tuple[str, ...]:
    """Return the notes of the email that `serialize_email` returned."""
    reason = reason_of(content, outgoing)
    return render_email(content, reason, outgoing.plain, sender.branding).notes


def preview(content: Content, outgoing: OutgoingMessage, sender: Sender) -> dict[str, Any]:
    """Return the email as `--dry-run` and `log show --rendered` print it: headers for people, text and HTML."""
    reason = reason_of(content, outgoing)
    email = render_email(content, reason, outgoing.plain, sender.branding)
    email_headers = {
        "From": str(Address(display_name=display_name(sender.name), addr_spec=encode_email(sender.address))),
        "To": encode_email(outgoing.address) if is_email(outgoing.address) else "",
        "Subject": email.subject,
        "Date": format_datetime(datetime.now(UTC)),
        "Message-ID": message_id(outgoing.delivery_id, sender),
        **thread_headers(content, outgoing, sender),
        **AUTOMATIC,
    }
    return {"headers": email_headers, "text": email.text, "html": email.html}


def display_name(name: str) -> str:
    """Return a name for From: one line without what separates addresses (SendGrid rejects `;` and `,`)."""
    return fit(re.sub(r"[,;<>\"\\]", " ", name), 100, line=True)


@lru_cache(maxsize=64)
def _shared_part(content: Content, sender: Sender, reason: str, plain: bool) -> bytes:
    """Return the headers and the MIME body that recipients with the same reason share.

    It is most of the work, so it is cached. An event has few reasons, however many recipients it has.
    """
    rendered = render_email(content, reason, plain, sender.branding)
    message = EmailMessage(policy=SMTP)
    for name, value in AUTOMATIC.items():
        message[name] = value
    message.set_content(rendered.text, cte="quoted-printable")
    if rendered.html:
        message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    return f"From: {_mailbox(sender)}\r\nSubject: {_encode_header(rendered.subject)}\r\n".encode() + message.as_bytes()


def _encode_header(line: str) -> str:
    """Return a header's text folded, in encoded words where it needs them.

    EmailMessage's own folding loses and adds spaces between encoded words (Python 3.11), and decodes a title that looks
    like an encoded word.
    """
    plain = line.isascii() and "=?" not in line
    return Header(line, "us-ascii" if plain else "utf-8", header_name="From, Subject").encode(linesep="\r\n")


def _mailbox(sender: Sender) -> str:
    """Return the value of From: the name, then the address."""
    name, address = display_name(sender.name), encode_email(sender.address)
    if not name:
        return address
    needs_quotes = name.isascii() and "=?" not in name and not _PHRASE.fullmatch(name)
    # Nothing to escape: `display_name` removes quotes and backslashes.
    return f'"{name}"\r\n <{address}>' if needs_quotes else f"{_encode_header(name)}\r\n <{address}>"


def _usable_link(link: str | None) -> str:
    safe = safe_link(link) or ""
    return safe if len(safe) <= LINK_LIMIT else ""
