"""What happens after a failed attempt: one pure table for every channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alertctl.errors import DeliveryError, Reason

JITTER = 0.2
"""A wait is lengthened by up to this share, so that what failed together doesn't come back together."""
RATE_LIMIT_SECONDS = 30.0
"""The wait after a rate limit that names none (Slack's own Retry-After is 30 most often)."""
LOCAL_SECONDS = 60.0
"""The wait after a failure of this machine when RETRY_SCHEDULE is empty."""

COUNTED = (Reason.UNAVAILABLE, Reason.AMBIGUOUS)
"""The only reasons that use up RETRY_SCHEDULE."""
WAITING = (Reason.CONFIG, Reason.LOCAL, Reason.RATE_LIMITED)
"""Reasons that end a delivery only by its age (ALERTCTL_MAX_AGE)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a delivery has come since it was queued or resent.

    `attempts` counts its attempts, the one that just failed included; `schedule_step` the waits of RETRY_SCHEDULE that
    were used before. `once`: it is not retried later (a test).
    """

    attempts: int
    schedule_step: int
    queued_at: datetime
    plain: bool = False
    once: bool = False


def next_attempt(
    error: DeliveryError,
    progress: Progress,
    schedule: Sequence[float],
    max_age: float,
    now: datetime,
    chance: float,
) -> datetime | None:
    """Return when to try again, None for never.

    `schedule` and `max_age` are in seconds, `chance` is from 0 to 1. What was refused for our settings is due at once.
    """
    if error.reason in (Reason.BAD_ADDRESS, Reason.EXPIRED):
        return None
    if error.reason is Reason.REJECTED:
        return None if progress.plain else now
    if progress.once or is_expired(error.reason, progress.queued_at, max_age, now):
        return None
    match error.reason:
        case Reason.CONFIG:
            # Refused twice, it lets others be the next probe: the refusal may be about this message alone.
            return progress.queued_at if progress.attempts == 1 else now
        case Reason.RATE_LIMITED:
            return now + timedelta(seconds=wait(error))
        case Reason.LOCAL:
            seconds = schedule[min(progress.attempts, len(schedule)) - 1] if schedule else LOCAL_SECONDS
        case _:
            if progress.schedule_step >= len(schedule):
                return None
            seconds = schedule[progress.schedule_step]
    return now + timedelta(seconds=seconds * (1 + JITTER * chance))


def is_expired(reason: Reason, queued_at: datetime, max_age: float, now: datetime) -> bool:
    """Whether a delivery that failed for this reason has waited for `max_age` seconds and ends now."""
    return reason in WAITING and (now - queued_at).total_seconds() >= max_age


def wait(error: DeliveryError) -> float:
    """Return the seconds that a rate limit asks for, within 1 s to 1 h."""
    asked = RATE_LIMIT_SECONDS if error.retry_after is None else error.retry_after
    return min(max(asked, 1.0), 3600.0)


@dataclass(frozen=True, slots=True)
class PauseWanted:
    """Leave `address` (None: the whole provider) alone for `seconds`."""

    address: str | None
    seconds: float


def pause(error: DeliveryError, address: str) -> PauseWanted | None:
    """Return the pause that a rate limit asks for, None for every other failure."""
    if error.reason is Reason.RATE_LIMITED:
        return PauseWanted(None if error.whole_provider else address, wait(error))
    return None
