"""What a dispatcher is told, and what it tells: how to send, and how much came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alertctl.channels import CHANNEL_TYPES, RateLimit
from alertctl.config import Settings

IN_HAND = 3
"""Jobs for each thread: one that it sends, and two that wait, so that none is idle while a transaction is under way
(with two, 1 060 deliveries a second on Postgres instead of 1 160, measured)."""
LEASE_DEADLINES = IN_HAND + 1
"""A lease is this many times the longest total deadline unless ALERTCTL_LEASE says otherwise: one for each job in hand,
and one for good measure."""


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How deliveries are sent: waits between tries (s), the lease (s), threads a channel, the channels' rate limits,
    and the age (s) at which a delivery that waits for us to repair something expires."""

    schedule: tuple[float, ...]
    lease: float
    senders: int
    rate_limits: Mapping[str, RateLimit]
    max_age: float = 72 * 3600.0

    @classmethod
    def of(cls, settings: Settings) -> DispatchOptions:
        lease = settings.alertctl.lease or LEASE_DEADLINES * settings.alertctl.deadline
        limits = {kind.name: kind.rate_limit(settings) for kind in CHANNEL_TYPES}
        return cls(settings.retry.schedule, lease, settings.alertctl.senders, limits, settings.alertctl.max_age)


@dataclass(frozen=True, slots=True)
class DispatchCounts:
    """Attempts, and how they ended."""

    attempted: int = 0
    success: int = 0
    retrying: int = 0
    failed: int = 0

    def __add__(self, other: DispatchCounts) -> DispatchCounts:
        return DispatchCounts(
            self.attempted + other.attempted,
            self.success + other.success,
            self.retrying + other.retrying,
            self.failed + other.failed,
        )
