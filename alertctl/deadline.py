"""A time limit that several steps share."""

from __future__ import annotations

import time


class Deadline:
    """A moment on the monotonic clock, `seconds` from now."""

    __slots__ = ("_ends",)

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the remaining seconds, 0.0 when it has passed."""
        return max(0.0, self._ends - time.monotonic())

    def require(self) -> float:
        """Return the remaining seconds. Raises TimeoutError when there are none."""
        remaining = self.remaining()
        if remaining <= 0:
            raise TimeoutError("the attempt's deadline has passed")
        return remaining
