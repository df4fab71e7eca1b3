"""What comes after a failed attempt: one pure table for every channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alertctl.errors import DeliveryError, Reason

JITTER = 0.2
"""A wait is lengthened by up to this share, so that what failed together doesn't come back together."""
PROBE_SECONDS = 60.0
"""How long a provider whose settings are wrong is left alone before one delivery tries again."""
RATE_LIMIT_SECONDS = 30.0
"""The wait after a rate limit that names none (Slack's own Retry-After is 30 most often)."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Where a delivery stands when an attempt of it has failed.

    `tries` counts this round's attempts (this one included), `age` is the round's age in seconds.
    """

    tries: int
    age: float
    plain: bool


def next_attempt(
    error: DeliveryError, tried: Tried, schedule: Sequence[float], now: datetime, chance: float
) -> datetime | None:
    """When to try again, None for never. `schedule` in seconds; its length is the limit. `chance` is from 0 to 1."""
    exhausted = tried.tries > len(schedule)
    match error.reason:
        case Reason.CONFIG | Reason.BAD_ADDRESS | Reason.EXPIRED:
            return None
        case Reason.REJECTED:
            return None if tried.plain else now
        case Reason.RATE_LIMITED:
            # Being told to wait isn't the message's fault: it goes on for as long as the whole schedule would last.
            if exhausted and tried.age > sum(schedule):
                return None
            return now + timedelta(seconds=wait(error))
        case Reason.UNAVAILABLE | Reason.AMBIGUOUS:
            if exhausted:
                return None
            return now + timedelta(seconds=schedule[tried.tries - 1] * (1 + JITTER * chance))


def wait(error: DeliveryError) -> float:
    """Seconds that a rate limit asks for, within 1 s to 1 h."""
    asked = RATE_LIMIT_SECONDS if error.retry_after is None else error.retry_after
    return min(max(asked, 1.0), 3600.0)


@dataclass(frozen=True, slots=True)
class PauseWanted:
    """Leave `address` (None: the whole provider) alone for `seconds`."""

    address: str | None
    seconds: float


def pause(error: DeliveryError, address: str) -> PauseWanted | None:
    """The pause that a failure asks for, if any."""
    if error.reason is Reason.CONFIG:
        return PauseWanted(None, PROBE_SECONDS)
    if error.reason is Reason.RATE_LIMITED:
        return PauseWanted(None if error.whole_provider else address, wait(error))
    return None
