"""About one message a second to one address: who is early gets the next free turn."""

from __future__ import annotations

import threading
import time

from alertctl.outbox import Claimed

FORGET = 10_000
"""Addresses that are remembered at most before those whose turn has passed are dropped."""

LATE = 60.0
"""Seconds after which a promised turn that nobody took is forgotten."""


class RateLimiter:
    """Turns for addresses: `burst` at once, then `per_second`. What goes `at_once` uses up a turn without waiting."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._gap = 1 / per_second if per_second > 0 else 0.0
        self._burst = self._gap * (burst - 1)
        self._next: dict[str, float] = {}
        self._promised: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, claimed: Claimed, *, at_once: bool = False) -> float:
        """Seconds until this delivery's turn, which from now on is its own; 0 = go."""
        if not self._gap:
            return 0.0
        now = time.monotonic()
        with self._lock:
            # Who was sent back once has a turn and needn't queue anew: not even when it comes a moment early, since the
            # clock that calls it is read before this one is.
            promised = self._promised.get(claimed.delivery_id)
            if promised is not None:
                if promised > now:
                    return promised - now
                del self._promised[claimed.delivery_id]
                return 0.0
            turn = max(self._next.get(claimed.address_key, 0.0), now - self._burst)
            self._next[claimed.address_key] = turn + self._gap
            if at_once or turn <= now:
                self._forget(now)
                return 0.0
            self._promised[claimed.delivery_id] = turn
            self._forget(now)
            return turn - now

    def horizon(self) -> float:
        """Seconds until the last promised turn; 0 when nobody waits."""
        with self._lock:
            return max(0.0, max(self._promised.values(), default=0.0) - time.monotonic())

    def _forget(self, now: float) -> None:
        if len(self._next) > FORGET:
            self._next = {key: turn for key, turn in self._next.items() if turn > now - self._burst}
        if self._promised and len(self._promised) % FORGET == 0:
            # Another daemon took them at their turn.
            self._promised = {key: turn for key, turn in self._promised.items() if turn > now - LATE}
