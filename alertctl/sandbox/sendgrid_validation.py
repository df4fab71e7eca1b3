"""What SendGrid refuses in the body of POST /v3/mail/send (its OpenAPI description and error pages)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
"""In one request: to, cc and bcc of all personalizations."""
MAX_CUSTOM_ARGS = 10_000
"""Bytes, for one personalization."""
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
_LOCAL = r"[^@\s,;:<>()\[\]\"\x00-\x1f\x7f]+"
_LABEL = r"[^@\s,;:<>()\[\]\".\x00-\x1f\x7f]+"
ADDRESS = re.compile(rf"{_LOCAL}@{_LABEL}(\.{_LABEL})+")
DUPLICATE = "Each email address in the personalization block should be unique between to, cc, and bcc."
GROUPS = ("to", "cc", "bcc")
RESERVED_HEADERS = frozenset(
    (
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
        *("to", "from", "subject", "reply-to", "cc", "bcc"),
    )
)
TOP_LEVEL = frozenset(
    (
        *("personalizations", "from", "reply_to", "reply_to_list", "subject", "content", "attachments"),
        *("template_id", "headers", "categories", "send_at", "batch_id", "asm", "ip_pool_name"),
        *("mail_settings", "tracking_settings"),
    )
)
PERSONALIZATION = frozenset(
    (
        *("from", "to", "cc", "bcc", "subject", "headers", "custom_args", "send_at"),
        *("substitutions", "dynamic_template_data"),
    )
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of `errors`; `field` is dotted (`personalizations.3.to.0.email`)."""

    message: str
    field: str | None = None

    @property
    def help(self) -> str | None:
        return HELP + re.sub(r"\.\d+", "", self.field) if self.field else None


Problems = Iterator[Problem]


def problems_of(payload: dict[str, Any]) -> list[Problem]:
    """Everything that is wrong, in the order of the fields; empty when the message will be taken."""
    return list(
        chain(
            _unknown(payload, TOP_LEVEL, ""),
            _personalizations(payload.get("personalizations")),
            _sender(payload.get("from")),
            _subject(payload),
            _content(payload.get("content"), payload),
            _mail_headers(payload.get("headers"), "headers"),
        )
    )


def in_sandbox_mode(payload: dict[str, Any]) -> bool:
    settings = payload.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True


def recipients(payload: Any) -> list[str]:
    """Every address that a request names, whatever else is wrong with it."""
    listed = payload.get("personalizations") if isinstance(payload, dict) else None
    people = listed if isinstance(listed, list) else []
    found = (email for person in people if isinstance(person, dict) for _, email in _emails(person))
    return [email for email in found if isinstance(email, str)]


def _emails(personalization: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The place of each address within its personalization, and the address."""
    for group in GROUPS:
        people = personalization.get(group)
        for index, person in enumerate(people if isinstance(people, list) else []):
            yield f"{group}.{index}", person.get("email") if isinstance(person, dict) else None


def _unknown(thing: dict[str, Any], known: frozenset[str], at: str) -> Problems:
    for name in thing:
        if name not in known:
            yield Problem(f"Additional property {name} is not allowed", f"{at}{name}")


def _personalizations(people: Any) -> Problems:
    at = "personalizations"
    if not isinstance(people, list) or not people:
        yield Problem("The personalizations field is required and must have at least one personalization.", at)
        return
    if len(people) > MAX_PERSONALIZATIONS:
        yield Problem(f"There can be at most {MAX_PERSONALIZATIONS} personalizations.", at)
    elif len(recipients({at: people})) > MAX_RECIPIENTS:
        yield Problem(f"The total number of recipients may not exceed {MAX_RECIPIENTS}.", at)
    for index, person in enumerate(people):
        if isinstance(person, dict):
            yield from _personalization(person, f"{at}.{index}")
        else:
            yield Problem("Each personalization must be an object.", f"{at}.{index}")


def _personalization(person: dict[str, Any], at: str) -> Problems:
    yield from _unknown(person, PERSONALIZATION, f"{at}.")
    if not isinstance(person.get("to"), list) or not person["to"]:
        message = "The to array is required for all personalization objects, and must have at least one email object."
        yield Problem(message, f"{at}.to")
    seen: set[str] = set()
    for place, email in _emails(person):
        yield from _address(email, f"{at}.{place}.email")
        if str(email).lower() in seen:
            yield Problem(f"{DUPLICATE} We found the first duplicate instance of [{email}].", at)
        seen.add(str(email).lower())
    yield from _names(person, at)
    yield from _custom_args(person.get("custom_args"), f"{at}.custom_args")
    yield from _mail_headers(person.get("headers"), f"{at}.headers")


def _address(email: Any, at: str) -> Problems:
    if not isinstance(email, str) or not ADDRESS.fullmatch(email) or email.lower().startswith("refused@"):
        yield Problem("Does not contain a valid address.", at)


def _names(person: dict[str, Any], at: str) -> Problems:
    for group in GROUPS:
        people = person.get(group)
        for index, someone in enumerate(people if isinstance(people, list) else []):
            yield from _name(someone, f"{at}.{group}.{index}.name")


def _name(someone: Any, at: str) -> Problems:
    name = someone.get("name", "") if isinstance(someone, dict) else ""
    if not isinstance(name, str):
        yield Problem("The name must be a string.", at)
    elif set(name) & {",", ";"} and not (name.startswith('"') and name.endswith('"')):
        yield Problem("A name with a comma or a semicolon must be in double quotes.", at)


def _custom_args(given: Any, at: str) -> Problems:
    if given is None:
        return
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        yield Problem("The custom_args values must be strings.", at)
    elif sum(len(name.encode()) + len(value.encode()) for name, value in given.items()) > MAX_CUSTOM_ARGS:
        yield Problem("The custom_args may not exceed 10000 bytes.", at)


def _mail_headers(given: Any, at: str) -> Problems:
    if given is None:
        return
    if not isinstance(given, dict):
        yield Problem("The headers must be an object.", at)
        return
    for name, value in given.items():
        if not isinstance(value, str):
            yield Problem("Header values must be strings.", f"{at}.{name}")
        elif name.lower() in RESERVED_HEADERS:
            yield Problem("You can not set a reserved header.", f"{at}.{name}")


def _sender(sender: Any) -> Problems:
    if not isinstance(sender, dict) or not sender.get("email"):
        yield Problem(
            "The from object must be provided for every email send. It is an object that requires the email "
            "parameter, but may also contain a name parameter.",
            "from.email",
        )
        return
    if not isinstance(sender["email"], str) or not ADDRESS.fullmatch(sender["email"]):
        yield Problem("The from email does not contain a valid address.", "from.email")
    yield from _name(sender, "from.name")


def _subject(payload: dict[str, Any]) -> Problems:
    people = payload.get("personalizations")
    subjects = [p.get("subject") for p in people if isinstance(p, dict)] if isinstance(people, list) else []
    if _is_text(payload.get("subject")) or payload.get("template_id") or (subjects and all(map(_is_text, subjects))):
        return
    yield Problem(
        "The subject is required. You can get around this requirement if you use a template with a subject "
        "defined or if every personalization has a subject defined.",
        "subject",
    )


def _content(parts: Any, payload: dict[str, Any]) -> Problems:
    if payload.get("template_id") and parts is None:
        return
    if not isinstance(parts, list) or not parts:
        yield Problem(
            "Unless a valid template_id is provided, the content parameter is required. There must be at "
            "least one defined content block.",
            "content",
        )
        return
    for index, part in enumerate(parts):
        yield from _part(part, f"content.{index}")
    kinds = [part.get("type") for part in parts if isinstance(part, dict)]
    if kinds != sorted(kinds, key=_rank):
        yield Problem(
            "If present, text/plain must be first, followed by text/html, followed by any other content.", "content"
        )


def _part(part: Any, at: str) -> Problems:
    kind = part.get("type") if isinstance(part, dict) else None
    if not _is_text(kind) or set(str(kind)) & set(";\r\n"):
        yield Problem("The content type must be a string without ';' or CRLF characters.", f"{at}.type")
    if not isinstance(part, dict) or not isinstance(part.get("value"), str) or not part["value"]:
        yield Problem("The content value must be a string at least one character in length.", f"{at}.value")


def _rank(kind: Any) -> int:
    return {"text/plain": 0, "text/html": 1}.get(str(kind), 2)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
