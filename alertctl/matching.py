"""The match language of rules: conditions on an event's type, severity, fields, details and labels. Pure.

A condition has a key and one or more patterns, of which one must match:

- `event_type`: a name or a glob.
- `severity`: a name, or `>=warning` (also `>`, `<=`, `<`) in the order info, warning, error, critical.
- a field of any event type, `details.NAME`, `labels.NAME`: text, a glob (`checkout-*`), a number, or true or false.

Values are compared as text, with case: a number without needless zeros, true and false in lower case. A missing or
empty value matches no pattern, not even `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from typing import Any

from alertctl.config.validators import plain_number, quoted
from alertctl.content import Severity
from alertctl.events import BY_NAME, EVENT_TYPES, EventFields
from alertctl.serialization import stamp
from alertctl.suggestions import did_you_mean, suggest

GROUPS = ("details", "labels")
"""Keys that hold values by name: `labels.team`."""
FIELDS: Mapping[str, frozenset[str]] = {
    name: frozenset(kind.event_type for kind in EVENT_TYPES if name in kind.model_fields)
    for kind in EVENT_TYPES
    for name in kind.model_fields
    if name not in GROUPS
}
"""The fields of all event types, with the types that have them."""
KEYS = ("event_type", "severity", *(name for name in FIELDS if name != "severity"))
_SEVERITIES = tuple(severity.value for severity in Severity)
_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*(.*?)\s*", re.DOTALL)
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Condition:
    """The allowed values of a key: the `exact` texts, and those that one of the `globs` matches.

    `text` is the condition as it is written, `pattern` matches all globs.
    """

    key: str
    exact: frozenset[str]
    globs: frozenset[str] = frozenset()
    text: str = field(default="", compare=False)
    pattern: re.Pattern[str] | None = field(default=None, compare=False)

    def matches(self, values: Mapping[str, str]) -> bool:
        value = values.get(self.key)
        if value is None or value in self.exact:
            return value is not None
        return self.pattern is not None and self.pattern.match(value) is not None

    def covers(self, other: Condition) -> bool:
        """Return whether every value that matches the other condition matches this one, as far as that is certain."""
        has_exact = all(self.matches({self.key: value}) for value in other.exact)
        return has_exact and ("*" in self.globs or self.globs >= other.globs)


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions, all of which must hold; without any, every event matches."""

    conditions: tuple[Condition, ...] = ()

    def mismatch(self, values: Mapping[str, str]) -> Condition | None:
        """Return the first condition that does not hold for an event's `values_of`, None if all hold."""
        for condition in self.conditions:
            if not condition.matches(values):
                return condition
        return None

    def allowed(self, key: str, known: tuple[str, ...]) -> frozenset[str]:
        """Return those of the `known` values of a key that may match."""
        conditions = [condition for condition in self.conditions if condition.key == key]
        return frozenset(value for value in known if all(item.matches({key: value}) for item in conditions))

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that may match."""
        return self.allowed("event_type", tuple(BY_NAME))

    @property
    def severities(self) -> frozenset[str]:
        """The severities that may match."""
        return self.allowed("severity", _SEVERITIES)

    def covers(self, other: Match) -> bool:
        """Return whether every event that matches the other matches this, as far as that is certain."""
        if not (self.event_types >= other.event_types and self.severities >= other.severities):
            return False
        return all(
            any(condition.key == theirs.key and condition.covers(theirs) for theirs in other.conditions)
            for condition in self.conditions
            if condition.key not in ("event_type", "severity")
        )

    def missing_field(self) -> str | None:
        """Return a field that no event type of this match has, so that it matches no event; None without one."""
        for condition in self.conditions:
            if condition.key != "severity" and not FIELDS.get(condition.key, self.event_types) & self.event_types:
                return condition.key
        return None


EVERY_EVENT = Match()


def values_of(fields: EventFields, labels: Mapping[str, str]) -> dict[str, str]:
    """Return an event's values by key, as text. Missing and empty values are left out."""
    values = {name: _text(value) for name, value in fields if name != "details" and value not in (None, "")}
    for name, detail in (fields.details or {}).items():
        if detail not in (None, ""):
            values[f"details.{name}"] = _text(detail)
    for name, label in labels.items():
        if label:
            values[f"labels.{name}"] = label
    values["event_type"], values["severity"] = fields.event_type, fields.level.value
    return values


def flatten(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield each key with its patterns: TOML reads `labels.team = "x"` as a table in a table."""
    for key, value in table.items():
        if key in GROUPS and isinstance(value, Mapping):
            yield from ((f"{key}.{name}", patterns) for name, patterns in _leaves(value))
        else:
            yield key, value


def _leaves(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{rest}", patterns) for rest, patterns in _leaves(value))
        else:
            yield name, value


def parse_condition(key: str, value: object) -> Condition:
    """Return the condition of a key: a pattern, or a list of patterns. The text of a ValueError follows the key."""
    group, _, name = key.partition(".")
    if key not in KEYS and not (group in GROUPS and name):
        raise ValueError(f"is not a field of an event type{_nearest_key(key)}")
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError("is an empty list, which matches nothing; list values, or leave it out")
    patterns = [_pattern(item) for item in items]
    text = ", ".join(patterns)
    if key == "severity":
        return Condition(key, frozenset().union(*map(_severities, patterns)), text=text)
    if key == "event_type":
        return Condition(key, frozenset().union(*map(_event_types, patterns)), text=text)
    for pattern in patterns:
        comparison = _COMPARISON.fullmatch(pattern)
        if comparison and (comparison[2] in _SEVERITIES or comparison[2][:1].isdigit()):
            raise ValueError(f"{quoted(pattern)} compares, but only severity can be compared; write a value or a glob")
    globs = frozenset(filter(_GLOB.search, patterns))
    any_glob = re.compile("|".join(map(translate, globs))) if globs else None
    return Condition(key, frozenset(patterns) - globs, globs, text, any_glob)


def _nearest_key(key: str) -> str:
    _, dot, name = key.partition(".")
    if not key.isprintable():
        return ""
    known = [f"{group}.{name}" for group in GROUPS] if dot else KEYS
    if suggestion := did_you_mean(key, known):
        return suggestion
    for full_name in known:
        # A word of a name, as in `--flag`.
        if key in full_name.split("_"):
            return f"; did you mean {full_name}?"
    return f'; a label is "labels.{name or key}", a detail "details.{name or key}"'


def _pattern(value: object) -> str:
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"{quoted(value)} is not text, a number, true or false, or a list of these")
    text = _text(value)
    if not text:
        raise ValueError("is empty, which matches nothing; write a value, or leave it out")
    return text


def _severities(pattern: str) -> frozenset[str]:
    comparison = _COMPARISON.fullmatch(pattern)
    operator, name = (comparison[1], comparison[2]) if comparison else ("", pattern)
    if name not in _SEVERITIES:
        raise ValueError(f"{quoted(pattern)} is not a severity{suggest(name, _SEVERITIES)}")
    position = _SEVERITIES.index(name)
    selected = {
        "": _SEVERITIES[position : position + 1],
        ">=": _SEVERITIES[position:],
        ">": _SEVERITIES[position + 1 :],
        "<=": _SEVERITIES[: position + 1],
        "<": _SEVERITIES[:position],
    }[operator]
    if not selected:
        raise ValueError(f"{quoted(pattern)} matches no severity")
    return frozenset(selected)


def _event_types(pattern: str) -> frozenset[str]:
    glob = re.compile(translate(pattern))
    matched = frozenset(name for name in BY_NAME if glob.match(name))
    if not matched:
        raise ValueError(f"{quoted(pattern)} is not an event type{suggest(pattern, BY_NAME)}")
    return matched


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return plain_number(value)
    return stamp(value) if isinstance(value, datetime) else str(value)
