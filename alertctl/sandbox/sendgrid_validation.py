"""Validate the body of POST /v3/mail/send as SendGrid does (its OpenAPI description and error pages)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
"""In one request: to, cc and bcc of all personalizations."""
MAX_BYTES = 10_000
"""Of a personalization's custom_args, and of its substitutions."""
MAX_SUBSTITUTIONS = 100
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
_LOCAL = r"[^@\s,;:<>()\[\]\"\x00-\x1f\x7f]+"
_LABEL = r"[^@\s,;:<>()\[\]\".\x00-\x1f\x7f]+"
ADDRESS = re.compile(rf"{_LOCAL}@{_LABEL}(\.{_LABEL})+")
DUPLICATE = "Each email address in the personalization block should be unique between to, cc, and bcc."
RESERVED_HEADERS = {
    *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
    *("to", "from", "subject", "reply-to", "cc", "bcc"),
}
TOP_LEVEL = {
    *("personalizations", "from", "reply_to", "reply_to_list", "subject", "content", "attachments", "template_id"),
    *("headers", "categories", "send_at", "batch_id", "asm", "ip_pool_name", "mail_settings", "tracking_settings"),
}
PERSONALIZATION = {
    *("from", "to", "cc", "bcc", "subject", "headers", "custom_args", "send_at"),
    *("substitutions", "dynamic_template_data"),
}


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
    return [
        *_unknown(payload, TOP_LEVEL, ""),
        *_personalizations(payload.get("personalizations")),
        *_sender(payload.get("from")),
        *_subject(payload),
        *_content(payload),
        *_mail_headers(payload.get("headers", {}), "headers"),
    ]


def is_sandbox_mode(payload: dict[str, Any]) -> bool:
    return _get(_get(payload.get("mail_settings"), "sandbox_mode"), "enable") is True


def recipients(payload: Any) -> list[str]:
    """Return every address in a request, also in an invalid one."""
    people = [person for item in _items(payload, "personalizations") for _, person in _people(item)]
    return [person["email"] for person in people if isinstance(_get(person, "email"), str)]


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _items(value: Any, name: str) -> list[Any]:
    items = _get(value, name)
    return items if isinstance(items, list) else []


def _people(personalization: Any) -> Iterator[tuple[str, Any]]:
    """Yield each recipient of a personalization with its path in it."""
    for group in ("to", "cc", "bcc"):
        for index, person in enumerate(_items(personalization, group)):
            yield f"{group}.{index}", person


def _unknown(value: dict[str, Any], known: Set[str], path: str) -> FieldErrors:
    for name in value:
        if name not in known:
            yield FieldError(f"Additional property {name} is not allowed", f"{path}{name}")


def _personalizations(items: Any) -> FieldErrors:
    path = "personalizations"
    if not isinstance(items, list) or not items:
        yield FieldError("The personalizations field is required and must have at least one personalization.", path)
        return
    if len(items) > MAX_PERSONALIZATIONS:
        yield FieldError(f"There can be at most {MAX_PERSONALIZATIONS} personalizations.", path)
    elif len(recipients({path: items})) > MAX_RECIPIENTS:
        yield FieldError(f"The total number of recipients may not exceed {MAX_RECIPIENTS}.", path)
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield from _personalization(item, f"{path}.{index}")
        else:
            yield FieldError("Each personalization must be an object.", f"{path}.{index}")


def _personalization(item: dict[str, Any], path: str) -> FieldErrors:
    yield from _unknown(item, PERSONALIZATION, f"{path}.")
    if not _items(item, "to"):
        message = "The to array is required for all personalization objects, and must have at least one email object."
        yield FieldError(message, f"{path}.to")
    seen: set[str] = set()
    for field, person in _people(item):
        email = str(_get(person, "email"))
        if not ADDRESS.fullmatch(email) or email.lower().startswith("refused@"):
            yield FieldError("Does not contain a valid address.", f"{path}.{field}.email")
        if email.lower() in seen:
            yield FieldError(f"{DUPLICATE} We found the first duplicate instance of [{email}].", path)
        seen.add(email.lower())
        yield from _name(person, f"{path}.{field}.name")
    yield from _texts(item, "custom_args", path)
    yield from _texts(item, "substitutions", path)
    yield from _mail_headers(item.get("headers", {}), f"{path}.headers")


def _name(person: Any, path: str) -> FieldErrors:
    name = _get(person, "name") or ""
    if not isinstance(name, str):
        yield FieldError("The name must be a string.", path)
    elif set(name) & {",", ";"} and not (name.startswith('"') and name.endswith('"')):
        yield FieldError("A name with a comma or a semicolon must be in double quotes.", path)


def _texts(item: dict[str, Any], name: str, path: str) -> FieldErrors:
    """Check an object of texts in a personalization."""
    values, path = item.get(name, {}), f"{path}.{name}"
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        yield FieldError(f"The {name} values must be strings.", path)
    elif name == "substitutions" and len(values) > MAX_SUBSTITUTIONS:
        yield FieldError(f"There can be at most {MAX_SUBSTITUTIONS} substitutions per personalization.", path)
    elif sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > MAX_BYTES:
        yield FieldError(f"The {name} may not exceed {MAX_BYTES} bytes.", path)


def _mail_headers(values: Any, path: str) -> FieldErrors:
    if not isinstance(values, dict):
        yield FieldError("The headers must be an object.", path)
        return
    for name, value in values.items():
        if not isinstance(value, str):
            yield FieldError("Header values must be strings.", f"{path}.{name}")
        elif name.lower() in RESERVED_HEADERS:
            yield FieldError("You can not set a reserved header.", f"{path}.{name}")


def _sender(sender: Any) -> FieldErrors:
    email = _get(sender, "email")
    if not email:
        yield FieldError(
            "The from object must be provided for every email send. It is an object that requires the email "
            "parameter, but may also contain a name parameter.",
            "from.email",
        )
    elif not ADDRESS.fullmatch(str(email)):
        yield FieldError("The from email does not contain a valid address.", "from.email")
    yield from _name(sender, "from.name")


def _subject(payload: dict[str, Any]) -> FieldErrors:
    subjects = [_get(item, "subject") for item in _items(payload, "personalizations")]
    if _is_text(payload.get("subject")) or payload.get("template_id") or (subjects and all(map(_is_text, subjects))):
        return
    yield FieldError(
        "The subject is required. You can get around this requirement if you use a template with a subject "
        "defined or if every personalization has a subject defined.",
        "subject",
    )


def _content(payload: dict[str, Any]) -> FieldErrors:
    if payload.get("template_id") and payload.get("content") is None:
        return
    parts = _items(payload, "content")
    if not parts:
        yield FieldError(
            "Unless a valid template_id is provided, the content parameter is required. There must be at "
            "least one defined content block.",
            "content",
        )
    for index, part in enumerate(parts):
        if not _is_text(_get(part, "type")) or set(part["type"]) & set(";\r\n"):
            message = "The content type must be a string without ';' or CRLF characters."
            yield FieldError(message, f"content.{index}.type")
        if not _is_text(_get(part, "value")):
            message = "The content value must be a string at least one character in length."
            yield FieldError(message, f"content.{index}.value")
    ranks = [{"text/plain": 0, "text/html": 1}.get(str(_get(part, "type")), 2) for part in parts]
    if ranks != sorted(ranks):
        message = "If present, text/plain must be first, followed by text/html, followed by any other content."
        yield FieldError(message, "content")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
