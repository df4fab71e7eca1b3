"""Build the publish request from flags and a JSON object; flags win."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any, NoReturn

from alertctl.channels import TARGET_EXAMPLES
from alertctl.config import duration_of
from alertctl.errors import InvalidEvent
from alertctl.labels import split_label
from alertctl.schemas import PublishRequest, parse_moment, with_current_names
from alertctl.spool import key_of
from alertctl.suggestions import suggest

LARGEST_FILE = 4_000_000
"""Maximum size of the JSON, in bytes."""


def build_request(
    event: str | None,
    shortcuts: Mapping[str, str | None],
    assignments: Sequence[str] | None,
    json_file: str | None,
    now: datetime,
    *,
    to: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    channel: str | None = None,
    idempotency_key: str | None = None,
    dedup_window: str | None = None,
    expires: str | None = None,
    remote: bool = False,
) -> PublishRequest:
    """Return the request of a command line. Raises InvalidEvent.

    With `remote` only the server checks the event's type and fields: its version may know other ones.
    """
    body = with_current_names(_read(json_file)) if json_file is not None else {}
    named = _text(body, "event_type")
    event_type = event or named
    known = _fields_of(event_type, remote)
    expires_at, originally_published_at = (
        parse_moment(name, body.pop(name, None)) for name in ("expires_at", "originally_published_at")
    )
    window = body.pop("dedup_window", None)
    if window is not None:
        window = duration_of("dedup_window", window, low=0)
    body_to = _targets(body)
    body_channel = _text(body, "channel")
    body_labels = body.pop("labels", None) or {}
    if dedup_window:
        window = duration_of("--dedup-window", dedup_window, low=0)
    if expires:
        expires_at = now + timedelta(seconds=duration_of("--expires", expires))
    fields = {name: value for name, value in shortcuts.items() if value is not None}
    for field, value in [*fields.items(), *map(_assignment, assignments or ())]:
        _set(body, field, value, known)
    return PublishRequest(
        event_type=event_type or "",
        fields=body,
        labels=_labels(body_labels, labels or ()),
        to=list(to or body_to),
        channel=channel or body_channel or None,
        idempotency_key=key_of(idempotency_key),
        dedup_window=window,
        expires_at=expires_at,
        originally_published_at=originally_published_at,
    )


def _assignment(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise InvalidEvent("--set", f"{text[:60]!r} is not field=value")
    return field.strip(), value


def _labels(body_labels: Any, texts: Sequence[str]) -> Any:
    """Return the labels of the JSON and those of `--label`, which win. An empty value leaves a label out."""
    try:
        labels = dict(map(split_label, texts))
    except ValueError as error:
        raise InvalidEvent("--label", str(error)) from None
    # `publish.prepare` refuses labels that are not an object.
    return body_labels | labels if isinstance(body_labels, dict) and labels else body_labels or labels


def _fields_of(event_type: str | None, remote: bool) -> Mapping[str, Any] | None:
    """Return the fields of an event type; None when only the server knows them."""
    if event_type and remote:
        return None
    from alertctl.events import BY_NAME, find

    if not event_type:
        raise InvalidEvent("--event", f"is missing{suggest('', BY_NAME)}")
    return find(event_type).model_fields


def _set(body: dict[str, Any], field: str, value: str, known: Mapping[str, Any] | None) -> None:
    """Set a field. An empty value leaves it out: `--set winner="$WINNER"` must work before there is a winner."""
    target = body
    if field.startswith("details."):
        field = field.removeprefix("details.")
        details = body.get("details")
        target = body["details"] = dict(details) if isinstance(details, Mapping) else {}
        if not field:
            raise InvalidEvent("--set", "details.NAME=value needs a name")
    if value or (target is body and known is not None and field not in known):
        target[field] = value
    elif target is body and known is None:
        # The server ignores null for a field that it knows, and rejects a field that it doesn't.
        target[field] = None
    else:
        target.pop(field, None)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise InvalidEvent(name, "should be text")
    return value


def _targets(body: dict[str, Any]) -> list[str]:
    value = body.pop("to", None)
    targets = [value] if isinstance(value, str) else value or []
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise InvalidEvent("to", f"should be a list like {json.dumps(TARGET_EXAMPLES)}")
    return targets


def _read(name: str) -> dict[str, Any]:
    """Return the JSON object in a file, or from stdin for `-`. Raises InvalidEvent."""
    shown = "stdin" if name == "-" else name[:100]
    if name == "-" and sys.stdin is None:
        raise InvalidEvent("--json", "stdin is closed")
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else open(name, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidEvent("--json", f"{shown}: {error.strerror or error}") from None
    if len(data) > LARGEST_FILE:
        raise InvalidEvent("--json", f"{shown} is larger than {LARGEST_FILE // 1_000_000} MB")
    try:
        body = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent("--json", f"{shown} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidEvent("--json", f"{shown} should hold one object of fields, {{…}}")
    return body


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")
