"""Limits in one minute: the events that one token may publish, and the lines of the audit log."""

from __future__ import annotations

import math
import threading
import time

from fastapi import HTTPException

from alertctl.users import Caller

MAX_TOKENS = 10_000
LINES_PER_MINUTE = 60
"""Audit lines of one kind: somebody who guesses tokens must not fill the disk."""


class TokenLimit:
    """A token bucket for each access token, or for each user of a JWT. `per_minute` 0: no limit."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, caller: Caller) -> None:
        """Count a call. Raises HTTPException (429) with the seconds until the next one is allowed."""
        if not self._per_minute:
            return
        key = caller.token_id or caller.user_id
        now = time.monotonic()
        per_second = self._per_minute / 60
        with self._lock:
            remaining, updated_at = self._buckets.get(key, (float(self._per_minute), now))
            remaining = min(float(self._per_minute), remaining + (now - updated_at) * per_second)
            if remaining < 1:
                wait = math.ceil((1 - remaining) / per_second)
                detail = f"this token may publish {self._per_minute} events per minute; try again in {wait} s"
                raise HTTPException(429, detail, {"Retry-After": str(wait)})
            if len(self._buckets) >= MAX_TOKENS:
                self._buckets.clear()
            self._buckets[key] = (remaining - 1, now)


class LineLimit:
    """Counts lines of each kind within the current minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def admit(self, kind: str) -> tuple[bool, int]:
        """Return whether to write a line now, and how many were left out in the minute before."""
        with self._lock:
            minute, omitted = int(time.monotonic() // 60), 0
            if self._minute.get(kind) != minute:
                omitted = max(0, self._counts.get(kind, 0) - LINES_PER_MINUTE)
                self._minute[kind], self._counts[kind] = minute, 0
            self._counts[kind] += 1
            return self._counts[kind] <= LINES_PER_MINUTE, omitted
