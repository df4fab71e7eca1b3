"""Validate the body of POST /v3/mail/send as SendGrid does (its OpenAPI description and error pages)."""

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
class FieldError:
    """One entry of `errors`; `field` is dotted (`personalizations.3.to.0.email`)."""

    message: str
    field: str | None = None

    @property
    def help(self) -> str | None:
        return HELP + re.sub(r"\.\d+", "", self.field) if self.field else None


FieldErrors = Iterator[FieldError]


def field_errors(payload: dict[str, Any]) -> list[FieldError]:
    """Return every error in the order of the fields; empty for a valid message."""
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


def is_sandbox_mode(payload: dict[str, Any]) -> bool:
    settings = payload.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True


def recipients(payload: Any) -> list[str]:
    """Return every address in a request, also in an invalid one."""
    listed = payload.get("personalizations") if isinstance(payload, dict) else None
    people = listed if isinstance(listed, list) else []
    emails = (email for person in people if isinstance(person, dict) for _, email in _emails(person))
    return [email for email in emails if isinstance(email, str)]


def _emails(personalization: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each address of a personalization with its path in it."""
    for group in GROUPS:
        people = personalization.get(group)
        for index, person in enumerate(people if isinstance(people, list) else []):
            yield f"{group}.{index}", person.get("email") if isinstance(person, dict) else None


def _unknown(value: dict[str, Any], known: frozenset[str], path: str) -> FieldErrors:
    for name in value:
        if name not in known:
            yield FieldError(f"Additional property {name} is not allowed", f"{path}{name}")


def _personalizations(people: Any) -> FieldErrors:
    path = "personalizations"
    if not isinstance(people, list) or not people:
        yield FieldError("The personalizations field is required and must have at least one personalization.", path)
        return
    if len(people) > MAX_PERSONALIZATIONS:
        yield FieldError(f"There can be at most {MAX_PERSONALIZATIONS} personalizations.", path)
    elif len(recipients({path: people})) > MAX_RECIPIENTS:
        yield FieldError(f"The total number of recipients may not exceed {MAX_RECIPIENTS}.", path)
    for index, person in enumerate(people):
        if isinstance(person, dict):
            yield from _personalization(person, f"{path}.{index}")
        else:
            yield FieldError("Each personalization must be an object.", f"{path}.{index}")


def _personalization(person: dict[str, Any], path: str) -> FieldErrors:
    yield from _unknown(person, PERSONALIZATION, f"{path}.")
    if not isinstance(person.get("to"), list) or not person["to"]:
        message = "The to array is required for all personalization objects, and must have at least one email object."
        yield FieldError(message, f"{path}.to")
    seen: set[str] = set()
    for field, email in _emails(person):
        yield from _address(email, f"{path}.{field}.email")
        if str(email).lower() in seen:
            yield FieldError(f"{DUPLICATE} We found the first duplicate instance of [{email}].", path)
        seen.add(str(email).lower())
    yield from _names(person, path)
    yield from _custom_args(person.get("custom_args"), f"{path}.custom_args")
    yield from _mail_headers(person.get("headers"), f"{path}.headers")


def _address(email: Any, path: str) -> FieldErrors:
    if not isinstance(email, str) or not ADDRESS.fullmatch(email) or email.lower().startswith("refused@"):
        yield FieldError("Does not contain a valid address.", path)


def _names(person: dict[str, Any], path: str) -> FieldErrors:
    for group in GROUPS:
        people = person.get(group)
        for index, recipient in enumerate(people if isinstance(people, list) else []):
            yield from _name(recipient, f"{path}.{group}.{index}.name")


def _name(recipient: Any, path: str) -> FieldErrors:
    name = recipient.get("name", "") if isinstance(recipient, dict) else ""
    if not isinstance(name, str):
        yield FieldError("The name must be a string.", path)
    elif set(name) & {",", ";"} and not (name.startswith('"') and name.endswith('"')):
        yield FieldError("A name with a comma or a semicolon must be in double quotes.", path)


def _custom_args(values: Any, path: str) -> FieldErrors:
    if values is None:
        return
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        yield FieldError("The custom_args values must be strings.", path)
    elif sum(len(name.encode()) + len(value.encode()) for name, value in values.items()) > MAX_CUSTOM_ARGS:
        yield FieldError("The custom_args may not exceed 10000 bytes.", path)


def _mail_headers(values: Any, path: str) -> FieldErrors:
    if values is None:
        return
    if not isinstance(values, dict):
        yield FieldError("The headers must be an object.", path)
        return
    for name, value in values.items():
        if not isinstance(value, str):
            yield FieldError("Header values must be strings.", f"{path}.{name}")
        elif name.lower() in RESERVED_HEADERS:
            yield FieldError("You can not set a reserved header.", f"{path}.{name}")


def _sender(sender: Any) -> FieldErrors:
    if not isinstance(sender, dict) or not sender.get("email"):
        yield FieldError(
            "The from object must be provided for every email send. It is an object that requires the email "
            "parameter, but may also contain a name parameter.",
            "from.email",
        )
        return
    if not isinstance(sender["email"], str) or not ADDRESS.fullmatch(sender["email"]):
        yield FieldError("The from email does not contain a valid address.", "from.email")
    yield from _name(sender, "from.name")


def _subject(payload: dict[str, Any]) -> FieldErrors:
    people = payload.get("personalizations")
    subjects = [p.get("subject") for p in people if isinstance(p, dict)] if isinstance(people, list) else []
    if _is_text(payload.get("subject")) or payload.get("template_id") or (subjects and all(map(_is_text, subjects))):
        return
    yield FieldError(
        "The subject is required. You can get around this requirement if you use a template with a subject "
        "defined or if every personalization has a subject defined.",
        "subject",
    )


def _content(parts: Any, payload: dict[str, Any]) -> FieldErrors:
    if payload.get("template_id") and parts is None:
        return
    if not isinstance(parts, list) or not parts:
        yield FieldError(
            "Unless a valid template_id is provided, the content parameter is required. There must be at "
            "least one defined content block.",
            "content",
        )
        return
    for index, part in enumerate(parts):
        yield from _part(part, f"content.{index}")
    kinds = [part.get("type") for part in parts if isinstance(part, dict)]
    if kinds != sorted(kinds, key=_rank):
        yield FieldError(
            "If present, text/plain must be first, followed by text/html, followed by any other content.", "content"
        )


def _part(part: Any, path: str) -> FieldErrors:
    kind = part.get("type") if isinstance(part, dict) else None
    if not _is_text(kind) or set(str(kind)) & set(";\r\n"):
        yield FieldError("The content type must be a string without ';' or CRLF characters.", f"{path}.type")
    if not isinstance(part, dict) or not isinstance(part.get("value"), str) or not part["value"]:
        yield FieldError("The content value must be a string at least one character in length.", f"{path}.value")


def _rank(kind: Any) -> int:
    return {"text/plain": 0, "text/html": 1}.get(str(kind), 2)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
