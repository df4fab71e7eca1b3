"""Limit the messages per second to each address: a delivery that is too early gets the next free turn."""

from __future__ import annotations

import threading
import time

from alertctl.outbox import Claimed

MAX_ADDRESSES = 10_000
"""Addresses that are remembered before those whose turn has passed are dropped."""

TURN_TIMEOUT = 60.0
"""Seconds after which an unused turn is forgotten."""


class RateLimiter:
    """Assigns turns to the deliveries of each address: `burst` at once, then `per_second`."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._gap = 1 / per_second if per_second > 0 else 0.0
        self._burst = self._gap * (burst - 1)
        self._next: dict[str, float] = {}
        self._promised: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, claimed: Claimed, *, at_once: bool = False) -> float:
        """Return the seconds until this delivery's turn, which is reserved for it; 0 to send it now.

        `at_once` uses up a turn without waiting for it.
        """
        if not self._gap:
            return 0.0
        now = time.monotonic()
        with self._lock:
            # A delivery that waited keeps its turn, also if it comes a moment early: the clock by which it fell due is
            # read before this one.
            promised = self._promised.get(claimed.delivery_id)
            if promised is not None:
                if promised > now:
                    return promised - now
                del self._promised[claimed.delivery_id]
                return 0.0
            turn = max(self._next.get(claimed.address_key, 0.0), now - self._burst)
            self._next[claimed.address_key] = turn + self._gap
            seconds = 0.0 if at_once else max(0.0, turn - now)
            if seconds:
                self._promised[claimed.delivery_id] = turn
            self._forget(now)
            return seconds

    def horizon(self) -> float:
        """Return the seconds until the last reserved turn; 0 if there is none."""
        with self._lock:
            return max(0.0, max(self._promised.values(), default=0.0) - time.monotonic())

    def _forget(self, now: float) -> None:
        if len(self._next) > MAX_ADDRESSES:
            self._next = {key: turn for key, turn in self._next.items() if turn > now - self._burst}
        if self._promised and len(self._promised) % MAX_ADDRESSES == 0:
            # Another daemon claimed these at their turn.
            self._promised = {key: turn for key, turn in self._promised.items() if turn > now - TURN_TIMEOUT}
