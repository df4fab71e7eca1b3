"""Durations: `90s`, `2m`, `1h30m`, `500ms`, or a number of seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta

from alertctl.config.validators import as_float, plain_number, quoted
from alertctl.errors import InvalidEvent

MIN_SECONDS = 0.001
MAX_SECONDS = 36_500 * 86_400.0
"""Seconds. A hundred years: now plus this is still a valid date."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[smhdw])", re.ASCII)


def parse_duration(value: object) -> float:
    """Return a duration in seconds: of `"90s"`, `"2m"`, `"1h30m"`, `"500ms"`, `"90"`, `90` or a timedelta.

    Raises ValueError for anything else, a negative one included.
    """
    seconds = as_float(value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds is None and isinstance(value, str):
        seconds = _sum_of_units(value.strip().lower())
    if seconds is None or seconds < 0 or not math.isfinite(seconds):
        raise ValueError(f"{quoted(value)} is not a duration (90s, 2m, 1h, 1d, or seconds)")
    return seconds


def _sum_of_units(text: str) -> float | None:
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts)


def format_duration(seconds: float) -> str:
    """Return seconds in the largest unit that fits exactly: 120 -> `2m`, 90 -> `90s`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{plain_number(seconds)}s"


def duration_between(low: float, high: float) -> Callable[[object], float]:
    """Return a check that takes a duration of `low` to `high` seconds."""

    def check(value: object) -> float:
        seconds = parse_duration(value)
        if not low <= seconds <= high:
            raise ValueError(f"{quoted(value)} is out of range ({format_duration(low)} to {format_duration(high)})")
        return seconds

    return check


def duration_of(field: str, value: object, low: float = MIN_SECONDS, high: float = MAX_SECONDS) -> float:
    """Return the seconds of a duration that a caller set for `field`. Raises InvalidEvent."""
    try:
        return duration_between(low, high)(value)
    except ValueError as error:
        raise InvalidEvent(field, str(error)) from None


def schedule(value: object) -> tuple[float, ...]:
    """Return waits in seconds, from text (`5s 30s 2m`) or a list; at least one, each at most 30 days."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError(f"{quoted(value)} is not a list of waits (5s 30s 2m)")
    return tuple(map(duration_between(0, 30 * _UNITS["d"]), parts))
