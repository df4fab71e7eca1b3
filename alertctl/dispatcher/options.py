"""A dispatcher's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alertctl.channels import CHANNEL_TYPES
from alertctl.channels.base import RateLimit
from alertctl.config import Settings
from alertctl.events.wording import NO_WORDING, Wording

IN_HAND = 3
"""Jobs for each thread: one that it sends and two that wait, so that no thread is idle during a transaction (with two
jobs 1 060 deliveries a second on Postgres instead of 1 160, measured)."""
LEASE_DEADLINES = IN_HAND + 1
"""A lease is this many times the longest total deadline unless ALERTCTL_LEASE says otherwise: one for each job in hand,
and one in reserve."""


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How deliveries are sent: the retry schedule (s), the lease (s), sending threads per channel, the channels' rate
    limits, the age (s) at which a delivery expires that waits for a repair on our side, the words of its messages, and
    for each channel with message threads whether messages about a subject form one by default."""

    schedule: tuple[float, ...]
    lease: float
    senders: int
    rate_limits: Mapping[str, RateLimit]
    max_age: float = 72 * 3600.0
    wording: Wording = NO_WORDING
    threads: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> DispatchOptions:
        return cls(
            schedule=settings.retry.schedule,
            lease=settings.alertctl.lease or LEASE_DEADLINES * settings.alertctl.deadline,
            senders=settings.alertctl.senders,
            rate_limits={kind.name: kind.rate_limit(settings) for kind in CHANNEL_TYPES},
            max_age=settings.alertctl.max_age,
            wording=Wording.of(settings.messages),
            threads={kind.name: kind.threads(settings) for kind in CHANNEL_TYPES if kind.threads},
        )
