"""Labels of an event: names and values that callers add to its fields, for routes and filters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from alertctl.errors import InvalidEvent
from alertctl.serialization import check_size
from alertctl.text import fit, width

MAX_LABELS = 32
MAX_VALUE = 255
"""Longest value in characters; a longer one is truncated."""
NAME = r"[A-Za-z0-9_./-]{1,63}"
_NAME = re.compile(NAME)


def parse_labels(labels: Any) -> tuple[dict[str, str], list[str]]:
    """Return a caller's labels as text, and warnings about those that were changed.

    Null and empty text count as missing. Raises InvalidEvent.
    """
    if not labels:
        return {}, []
    if not isinstance(labels, Mapping):
        raise InvalidEvent("labels", 'should be an object of names and values: {"team": "growth"}')
    check_size(labels, "labels")
    parsed, warnings = dict[str, str](), list[str]()
    items = [(check_label_name(str(name)), value) for name, value in labels.items() if value not in (None, "")]
    if len(items) > MAX_LABELS:
        warnings.append(f"labels: only the first {MAX_LABELS} of {len(items)} are kept")
    for name, value in items[:MAX_LABELS]:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if isinstance(value, Mapping | list | tuple):
            warnings.append(f"labels.{name}: should be text; it is kept as JSON")
        if width(text.strip()) > MAX_VALUE:
            warnings.append(f"labels.{name}: is longer than {MAX_VALUE} characters and was cut")
        if stored := label_value(text):
            parsed[name] = stored
    return parsed, warnings


def split_label(text: str) -> tuple[str, str]:
    """Return the name and the value of `NAME=VALUE`. Raises ValueError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text[:60]!r} is not NAME=VALUE")
    return name.strip(), value


def parse_label_filter(texts: Iterable[str]) -> dict[str, str]:
    """Return the labels that a filter requires, from `NAME=VALUE`. Raises ValueError."""
    labels: dict[str, str] = {}
    for name, value in map(split_label, texts):
        try:
            check_label_name(name)
        except InvalidEvent as error:
            raise ValueError(error.message) from None
        value = label_value(value)
        if not value:
            raise ValueError(f"{name}: should not be empty; leave it out to have all deliveries")
        if labels.setdefault(name, value) != value:
            raise ValueError(f"{name}: occurs twice with different values, and an event has one value of each label")
    return labels


def check_label_name(name: str) -> str:
    """Return the name of a label. Raises InvalidEvent."""
    if not _NAME.fullmatch(name):
        quoted = repr(name if len(name) <= 80 else f"{name[:79]}…")
        raise InvalidEvent(
            "labels", f"{quoted} is not a label name: use 1 to 63 characters: letters, digits and _ . - /"
        )
    return name


def label_value(text: str) -> str:
    """Return a value as it is stored and compared: one clean line without tokens, truncated to MAX_VALUE."""
    return fit(text, MAX_VALUE, line=True)
