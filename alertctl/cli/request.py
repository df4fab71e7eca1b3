"""From flags and a JSON object to a request for publishing; flags win."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from alertctl.errors import InvalidEvent

if TYPE_CHECKING:
    from alertctl.schemas import PublishRequest

LARGEST_FILE = 4_000_000
"""Bytes of JSON that are read at most."""


def build(
    event: str | None,
    assignments: Sequence[str],
    shortcuts: Mapping[str, str | None],
    json_file: str | None,
    to: Sequence[str],
    channel: str | None,
) -> PublishRequest:
    """The request that a command line means. Raises InvalidEvent."""
    from alertctl.events import BY_NAME, find
    from alertctl.schemas import PublishRequest

    body = _read(json_file) if json_file is not None else {}
    named = _text(body, "event_type")
    event_type = event or named
    if not event_type:
        raise InvalidEvent("--event", f"which one? ({', '.join(BY_NAME)})")
    known = find(event_type).model_fields
    targets, only = _targets(body), _text(body, "channel")
    given = {name: value for name, value in shortcuts.items() if value is not None}
    for field, value in [*given.items(), *map(_assignment, assignments)]:
        _set(body, field, value, known)
    return PublishRequest(event_type=event_type, fields=body, to=list(to) or targets, channel=channel or only or None)


def _assignment(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field.strip():
        raise InvalidEvent("--set", f"{text[:60]!r} is not field=value")
    return field.strip(), value


def _set(body: dict[str, Any], field: str, value: str, known: Mapping[str, Any]) -> None:
    """An empty value is a field that isn't known: `--set winner="$WINNER"` must work before there is one."""
    place = body
    if field.startswith("details."):
        field = field.removeprefix("details.")
        details = body.get("details")
        place = body["details"] = dict(details) if isinstance(details, Mapping) else {}
        if not field:
            raise InvalidEvent("--set", "details.NAME=value needs a name")
    if value or (place is body and field not in known):
        place[field] = value
    else:
        place.pop(field, None)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise InvalidEvent(name, "should be text")
    return value


def _targets(body: dict[str, Any]) -> list[str]:
    value = body.pop("to", None)
    targets = [value] if isinstance(value, str) else value or []
    if not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise InvalidEvent("to", 'should be a list like ["slack:#ops", "email:dev@corp.example"]')
    return targets


def _read(name: str) -> dict[str, Any]:
    """The object in a file, or on stdin for `-`. Raises InvalidEvent."""
    try:
        body = json.loads(_bytes(name).decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent("--json", f"{_shown(name)} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidEvent("--json", f"{_shown(name)} should hold one object of fields, {{…}}")
    return body


def _bytes(name: str) -> bytes:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidEvent("--json", f"{_shown(name)}: {error.strerror or error}") from None
    if len(data) > LARGEST_FILE:
        raise InvalidEvent("--json", f"{_shown(name)} is larger than {LARGEST_FILE // 1_000_000} MB")
    return data


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _shown(name: str) -> str:
    return "stdin" if name == "-" else name[:100]
