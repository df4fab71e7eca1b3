"""Decide when a failed attempt is retried: pure functions, the same for every channel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from alertctl.errors import DeliveryError, Reason

JITTER = 0.2
"""The largest random extension of a wait, as a share, so that deliveries that failed together spread out."""
RATE_LIMIT_SECONDS = 30.0
"""The wait after a rate limit without a time (Slack's Retry-After is mostly 30)."""
REFUSED_SECONDS = 15.0
"""Doubled with each attempt up to 1 h: the wait of a message that alone is refused for our settings."""
LOCAL_SECONDS = 60.0
"""The wait after a failure of this machine, or of one feature, when RETRY_SCHEDULE is empty."""

COUNTED = (Reason.UNAVAILABLE, Reason.AMBIGUOUS)
"""The reasons that count against RETRY_SCHEDULE."""
WAITING = (Reason.CONFIG, Reason.LOCAL)
"""Reasons that end a delivery only by its age (ALERTCTL_MAX_AGE)."""


def next_attempt(
    error: DeliveryError,
    *,
    attempts: int,
    schedule_step: int,
    queued_at: datetime,
    plain: bool = False,
    once: bool = False,
    alone: bool = False,
    schedule: Sequence[float],
    max_age: float,
    now: datetime,
    chance: float,
) -> datetime | None:
    """Return when to try again, None for never. A refusal of our settings keeps its position in the queue, unless it
    concerns one feature only.

    `attempts` (with the one that failed) and `schedule_step` (used waits of `schedule`) count since `queued_at`.
    `schedule` and `max_age` are in seconds, `chance` is from 0 to 1. `plain`: the message was plain text already.
    `once`: a test, never retried later. `alone`: the provider accepts other messages.
    """
    if error.reason in (Reason.BAD_ADDRESS, Reason.EXPIRED):
        return None
    if error.reason is Reason.REJECTED:
        return None if plain else now
    if once or is_expired(error.reason, queued_at, max_age, now):
        return None
    match error.reason:
        case Reason.CONFIG if not error.feature_only:
            if not alone:
                return queued_at
            return now + timedelta(seconds=min(REFUSED_SECONDS * 2 ** min(attempts, 10), 3600.0))
        case Reason.RATE_LIMITED:
            return now + timedelta(seconds=rate_limit_wait(error))
        case Reason.LOCAL | Reason.CONFIG:
            seconds = schedule[min(attempts, len(schedule)) - 1] if schedule else LOCAL_SECONDS
        case _:
            if schedule_step >= len(schedule):
                return None
            seconds = schedule[schedule_step]
    return now + timedelta(seconds=seconds * (1 + JITTER * chance))


def is_expired(reason: Reason, queued_at: datetime, max_age: float, now: datetime) -> bool:
    """Return whether a delivery that failed for this reason has waited for `max_age` seconds and is final."""
    return reason in WAITING and (now - queued_at).total_seconds() >= max_age


def rate_limit_wait(error: DeliveryError) -> float:
    """Return the seconds that a rate limit asks for, from 1 s to 1 h."""
    return RATE_LIMIT_SECONDS if error.retry_after is None else bounded_wait(error.retry_after)


def bounded_wait(seconds: float) -> float:
    """Return the seconds, limited to 1 s to 1 h; the default for NaN."""
    return RATE_LIMIT_SECONDS if math.isnan(seconds) else min(max(seconds, 1.0), 3600.0)


def retry_after(headers: Mapping[str, str], body: Mapping[str, Any], now: datetime) -> float:
    """Return the seconds to wait after a 429, from 1 to 3600.

    The first of Retry-After, X-RateLimit-Reset (in seconds since 1970) and `retry_after` in the body counts; the
    default is 30. `headers` have lower-case names; `now` is an aware UTC time.
    """
    seconds = _delay(headers.get("retry-after", ""), now)
    if seconds is None:
        epoch = _number(headers.get("x-ratelimit-reset", ""))
        seconds = None if epoch is None else epoch - now.timestamp()
    if seconds is None and not isinstance(body.get("retry_after"), bool):
        seconds = _number(str(body.get("retry_after", "")))
    return RATE_LIMIT_SECONDS if seconds is None else bounded_wait(seconds)


def _delay(value: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After: a number, fractions included, or a date (RFC 9110)."""
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()


def _number(text: str) -> float | None:
    try:
        number = float(text.strip()[:40])
    except ValueError:
        return None
    return None if math.isnan(number) else number
