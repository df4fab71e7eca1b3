"""The registry of event types. A new type is a file in this folder and a line in EVENT_TYPES."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import ValidationError, create_model

from alertctl.content import Content, Severity
from alertctl.errors import InvalidEvent
from alertctl.events.base import EventFields as EventFields
from alertctl.events.experiment_lifecycle import ExperimentLifecycle
from alertctl.events.generic_alert import GenericAlert
from alertctl.events.lenient_input import interpret
from alertctl.events.rollout_advance import RolloutAdvance
from alertctl.events.safety_rollback import SafetyRollback
from alertctl.events.wording import NO_WORDING, Wording
from alertctl.serialization import check_size
from alertctl.suggestions import suggest

EVENT_TYPES: tuple[type[EventFields], ...] = (
    SafetyRollback,
    ExperimentLifecycle,
    RolloutAdvance,
    GenericAlert,
)
BY_NAME: Mapping[str, type[EventFields]] = {kind.event_type: kind for kind in EVENT_TYPES}
PREFERENCES: Mapping[str, bool] = {
    kind.event_type: kind.default_on for kind in EVENT_TYPES if kind.default_on is not None
}
"""Event types with a user preference, and its default."""


def find(event_type: str) -> type[EventFields]:
    """Return the registered type of this name. Raises InvalidEvent with a suggestion."""
    if event_type not in BY_NAME:
        raise InvalidEvent("event_type", f"{_quoted(event_type)} is not an event type{suggest(event_type, BY_NAME)}")
    return BY_NAME[event_type]


def parse(event_type: str, fields: Mapping[str, Any], *, complete: bool = True) -> tuple[EventFields, list[str]]:
    """Return typed fields from a caller's values, and warnings about values whose form was wrong (`lenient_input`).

    Null counts as missing. Without `complete` no field is required. Raises InvalidEvent with the field's name.
    """
    kind = find(event_type) if complete else _without_required(find(event_type))
    check_size(fields, "fields")
    values = _storable(
        {name: value for name, value in fields.items() if value is not None or name not in kind.model_fields}
    )
    try:
        return kind.model_validate(values), []
    except ValidationError as error:
        accepted, warnings = interpret(kind, values, error)
    try:
        return kind.model_validate(accepted), warnings
    except ValidationError as error:
        raise _first_problem(kind, error) from None


@cache
def _without_required(kind: type[EventFields]) -> type[EventFields]:
    """Return a type like this one, without required fields."""
    required: dict[str, Any] = {
        name: field.annotation for name, field in kind.model_fields.items() if field.is_required()
    }
    optional: dict[str, Any] = {name: (annotation | None, None) for name, annotation in required.items()}
    return create_model(kind.__name__, __base__=kind, **optional)


def _storable(value: Any) -> Any:
    """Return a value without NUL and lone surrogates, which databases and providers refuse."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_storable(name): _storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


def _first_problem(kind: type[EventFields], error: ValidationError) -> InvalidEvent:
    problem = error.errors(include_url=False, include_context=False)[0]
    # Only `details` nests; after its key, pydantic adds the names of the union's members.
    path = problem["loc"][:2] if problem["loc"][:1] == ("details",) else problem["loc"][:1]
    field = ".".join(str(part) for part in path) or "fields"
    if len(path) == 2:
        return InvalidEvent(field, "should be text, a number, or yes or no")
    if problem["type"] == "missing":
        meaning = kind.model_fields[field].description
        return InvalidEvent(field, f"is missing; {kind.event_type} requires it ({meaning})")
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    message = message.partition(", unable to parse")[0]
    named, _, rest = message.partition(": ")
    if not problem["loc"] and rest and named in kind.model_fields:
        return InvalidEvent(named, rest)
    value = problem["input"]
    return InvalidEvent(field, f"{message}, got {_quoted(value)}" if isinstance(value, str | int | float) else message)


def _quoted(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else text[:59] + "…")


LATE_SECONDS = 60.0
"""Delay from which on a message has a note about it."""


def _late_note(row: Any, now: datetime) -> str | None:
    """Return `delayed 31 min` for an event that is sent this long after its first publication, else None."""
    late = (now - (row.originally_published_at or row.created_at)).total_seconds()
    if late < LATE_SECONDS:
        return None
    for size, unit in ((86400, "days"), (3600, "h")):
        if late >= 2 * size:
            return f"delayed {late / size:.0f} {unit}"
    return f"delayed {late / 60:.0f} min"


def broadcasts(row: Any) -> bool:
    """Return whether a stored event's message is shown in the channel, too, when it is a reply in a thread."""
    return row.event_type not in BY_NAME or BY_NAME[row.event_type].broadcast


def compose(
    fields: EventFields,
    fields_json: str,
    event_id: str,
    occurred_at: datetime,
    labels: Mapping[str, str],
    wording: Wording,
) -> Content:
    """Return the content of an event in these words. `fields_json` are its fields as JSON."""
    content = fields.content(event_id, occurred_at)
    content = replace(content, labels=tuple(labels.items()), event_json=fields_json)
    return wording.apply(content, fields)


def restore(row: Any, now: datetime | None = None, wording: Wording = NO_WORDING) -> Content:
    """Return a stored event's content in these words, with a note about its delay at `now`.

    For an event that this version can't read, the content only names its type.
    """
    notes: list[str | None] = []
    try:
        fields = BY_NAME[row.event_type].model_validate_json(row.fields)
    except (KeyError, ValidationError):
        title = row.event_type.replace("_", " ").capitalize()
        summary = f"{title}: written by another version of alertctl, its details cannot be shown."
        content = Content(row.event_type, row.id, title, summary, Severity(row.severity), (), row.occurred_at)
    else:
        labels = json.loads(row.labels) if row.labels else {}
        content = compose(fields, row.fields, row.id, row.occurred_at, labels, wording)
        notes.append("This is a test: nothing happened." if row.is_test else None)
    notes.append(_late_note(row, now) if now is not None else None)
    return content.with_notes(*filter(None, notes))
