"""Decide when to call a provider: not while it refuses our credentials or settings, and carefully after that.

The breaker lives in the process that was refused: another process may have better credentials.

    closed --refused--> open --(30 s, doubling to 10 min)--> probe --accepted--> ramp up (1, 2, 4, …) --> closed
                         ^                                     |
                         +----------------refused--------------+
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TypeGuard

from alertctl.channels.base import Receipt, SendResult
from alertctl.errors import DeliveryError, Reason

PROBE_SECONDS = 30.0
"""From the first refusal to the first probe; each refused probe doubles it."""
LONGEST_PROBE_SECONDS = 600.0
PROBE_JITTER = 0.2
"""Probes are moved by up to this share, so that many instances don't probe together."""
RAMP_END = 128
"""Deliveries in flight at which a ramp ends."""
IDLE_SECONDS = 1.0
"""After so long without a delivery the next one goes alone: a revoked token then costs one call, not one a thread."""


class CircuitBreaker:
    """Limits the deliveries in flight to one provider. Safe for many threads; `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.refusal: DeliveryError | None = None
        """The provider's refusal while the breaker is open, else None."""
        self.since = datetime.min
        """When the open breaker opened."""
        self._interval = PROBE_SECONDS
        self._next_probe = 0.0
        self._probe_number: int | None = None
        self._ramp: int | None = None
        self._proven = False
        self._accepted_since_refusal = False
        self._alone_since = 0.0
        self._last_active = 0.0

    def seconds_to_probe(self, now: float) -> float:
        """Return the seconds until the next probe may go out; 0 when it may go now."""
        return max(0.0, self._next_probe - now)

    def allowance(self, in_flight: int, now: float) -> int | None:
        """Return how many more deliveries may be sent now; None for any number."""
        with self._lock:
            if self.refusal is not None:
                return 0 if in_flight or now < self._next_probe else 1
            if self._ramp is not None:
                return max(0, self._ramp - in_flight)
            return self._careful_allowance(in_flight, now)

    def _careful_allowance(self, in_flight: int, now: float) -> int | None:
        if not in_flight and now - self._last_active > IDLE_SECONDS:
            self._proven, self._alone_since = False, now
        alone = now - self._alone_since
        # A slow answer is not a refusal: after a second another one goes, after two the caution ends.
        if self._proven or alone >= 2 * IDLE_SECONDS:
            return None
        return max(0, (1 if alone < IDLE_SECONDS else 2) - in_flight)

    @property
    def is_limited(self) -> bool:
        """Whether the next result may allow more deliveries than now."""
        return self.refusal is not None or self._ramp is not None or not self._proven

    @property
    def is_ramping(self) -> bool:
        """Whether the provider has just accepted a probe, and the load grows."""
        return self._ramp is not None

    def start(self, now: float) -> bool:
        """Note that deliveries go out; returns whether they are the probe."""
        with self._lock:
            self._last_active = now
            return self.refusal is not None

    def may_send(self, *, probe: bool) -> bool:
        """Return whether a claimed delivery may still be sent."""
        return self.refusal is None or probe

    def request_probe(self, number: int, now: float) -> None:
        """Probe at once if `number` (of the database's probe requests) has grown since the breaker opened."""
        with self._lock:
            if self._probe_number is not None and number != self._probe_number:
                self._next_probe = now
            self._probe_number = number

    def probe_now(self) -> None:
        """Allow the next probe at once."""
        with self._lock:
            self._next_probe = 0.0

    def record(
        self, results: Sequence[SendResult], *, probe: bool, refused_before: bool, now: float, clock: datetime
    ) -> bool:
        """Learn from the results of one request. A rate limit or an outage says nothing about our credentials.

        Returns whether a refusal concerns these messages only: they were refused before, and others accepted since.
        """
        refusal = next((result for result in results if _is_refusal(result)), None)
        accepted = any(isinstance(result, Receipt) or result.reason in _ABOUT_THE_MESSAGE for result in results)
        with self._lock:
            self._last_active = now
            if self.refusal is None:
                if accepted:
                    self._accept()
                elif refusal is not None and refused_before and self._accepted_since_refusal:
                    return True
                elif refusal is not None:
                    self._open(refusal, now, clock)
            elif probe:
                self._end_probe(accepted, refusal, now)
            return False

    def _accept(self) -> None:
        self._proven = self._accepted_since_refusal = True
        if self._ramp is not None:
            self._ramp = self._ramp + 1 if self._ramp < RAMP_END else None

    def _open(self, refusal: DeliveryError, now: float, clock: datetime) -> None:
        self.refusal = refusal
        self.since = clock
        self._probe_number = None
        self._interval, self._ramp = PROBE_SECONDS, None
        self._proven = self._accepted_since_refusal = False
        self._schedule_probe(now)

    def _end_probe(self, accepted: bool, refusal: DeliveryError | None, now: float) -> None:
        if accepted:
            self.refusal, self._ramp = None, 1
            self._accept()
            return
        if refusal is not None:
            self.refusal = refusal
            self._interval = min(2 * self._interval, LONGEST_PROBE_SECONDS)
        self._schedule_probe(now)

    def _schedule_probe(self, now: float) -> None:
        self._next_probe = now + self._interval * random.uniform(1 - PROBE_JITTER, 1 + PROBE_JITTER)


def _is_refusal(result: SendResult) -> TypeGuard[DeliveryError]:
    """Return whether the provider refused our credentials or settings, and not only one feature."""
    return isinstance(result, DeliveryError) and result.reason is Reason.CONFIG and not result.feature_only


_ABOUT_THE_MESSAGE = (Reason.BAD_ADDRESS, Reason.REJECTED)
"""Reasons about the message or its address: the provider has accepted our credentials."""
