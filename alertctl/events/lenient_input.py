"""Accept values whose form is wrong but whose meaning is clear, and warn about each.

An alert must not be lost because of `severity=CRITICAL`, `value=7%` or a misspelt optional field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from alertctl.content import format_number
from alertctl.events.base import EventFields, Number, Percentage
from alertctl.suggestions import did_you_mean

SYNONYMS = {"warn": "warning", "err": "error", "crit": "critical", "fatal": "critical"}
REQUEST_KEYS = ("event_type", "to", "channel", "labels", "dedup_window", "expires_at")
"""What a request holds beside the event's own fields. A misspelt key looks like an unknown field."""
MAX_NAMED = 10
"""Unknown fields that get a warning of their own."""
_WITH_UNIT = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(%|ms)\s*")


def interpret(
    kind: type[EventFields], values: Mapping[str, Any], error: ValidationError
) -> tuple[dict[str, Any], list[str]]:
    """Return the values that were refused with `error` in a form that the type may accept, and the warnings."""
    accepted = dict(values)
    warnings = list[str]()
    unknown = dict[str, Any]()
    for problem in error.errors(include_url=False, include_context=False):
        name, value = str(problem["loc"][0]) if len(problem["loc"]) == 1 else "", problem["input"]
        if problem["type"] == "extra_forbidden":
            unknown[name] = accepted.pop(name)
        elif name in kind.model_fields and isinstance(value, str):
            meaning = _meaning(kind, name, value, values)
            if meaning is not None:
                accepted[name] = meaning
                text = meaning if isinstance(meaning, str) else format_number(meaning)
                warnings.append(f"{name}: {value[:60]!r} is read as {text}")
    details = accepted.get("details")
    if unknown and (details is None or isinstance(details, Mapping)):
        moved = {name: _detail(value) for name, value in unknown.items() if value not in (None, "")}
        # A detail of the same name wins.
        accepted["details"] = moved | dict(details or {})
    return accepted, warnings + _unknown_warnings(kind, unknown)


def _meaning(kind: type[EventFields], name: str, text: str, values: Mapping[str, Any]) -> str | float | None:
    """Return a word of a closed list, or the number before a unit; None for any other text."""
    annotation = kind.model_fields[name].annotation
    word = re.sub(r"[\s-]+", "_", text.strip().lower())
    word = SYNONYMS.get(word, word)
    if word in _words(annotation):
        return word
    types = get_args(annotation)
    match = _WITH_UNIT.fullmatch(text) if Number in types or Percentage in types else None
    if match is None or (match[2] == "ms" and Percentage in types):
        return None
    is_share = match[2] == "%" and Percentage not in types and kind.has_shares(values)
    return float(Decimal(match[1]) / 100 if is_share else Decimal(match[1]))


def _words(annotation: Any) -> Sequence[str]:
    """Return the values of a closed list of words, none for other types."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _detail(value: Any) -> Any:
    """Return a value as a detail may have it: lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _unknown_warnings(kind: type[EventFields], unknown: Mapping[str, Any]) -> list[str]:
    warnings = []
    for name, value in list(unknown.items())[:MAX_NAMED]:
        outcome = "left out" if value in (None, "") else "shown as a detail"
        hint = did_you_mean(name, [*kind.model_fields, *REQUEST_KEYS])
        warnings.append(f"{name[:60]}: {kind.event_type} has no such field, {outcome}{hint}")
    more = len(unknown) - MAX_NAMED
    return [*warnings, f"{more} more unknown fields are shown as details"] if more > 0 else warnings
