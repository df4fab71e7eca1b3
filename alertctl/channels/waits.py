"""How long a provider asks us to wait: seconds or dates, headers or body, sense or nonsense."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST = 1.0
LONGEST = 3600.0
DEFAULT = 30.0
"""Seconds to wait when a rate limit comes without a time that makes sense."""


def bounded(seconds: float) -> float:
    """Seconds within 1 s..1 h; the default for what is no number."""
    return DEFAULT if math.isnan(seconds) else min(max(seconds, SHORTEST), LONGEST)


def retry_after(headers: Mapping[str, str], body: str, now: datetime) -> float:
    """Seconds to wait after a 429, within 1..3600: from Retry-After, else X-RateLimit-Reset, else the body, else 30.

    `headers` have lower-case names; `now` is an aware UTC time.
    """
    wait = _delay(headers.get("retry-after", ""), now)
    if wait is None:
        wait = _until_epoch(headers.get("x-ratelimit-reset", ""), now)
    if wait is None:
        wait = _in_body(body)
    return DEFAULT if wait is None else bounded(wait)


def _delay(value: str, now: datetime) -> float | None:
    """Retry-After as RFC 9110 has it: seconds or a date; fractions are taken too."""
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()


def _until_epoch(value: str, now: datetime) -> float | None:
    """X-RateLimit-Reset: seconds since 1970."""
    epoch = _number(value)
    return None if epoch is None else epoch - now.timestamp()


def _in_body(body: str) -> float | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = answer.get("retry_after") if isinstance(answer, dict) else None
    return _number(str(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None


def _number(text: str) -> float | None:
    try:
        number = float(text.strip()[:40])
    except ValueError:
        return None
    return None if math.isnan(number) else number
