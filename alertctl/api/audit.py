"""Log each refusal and each change of rights in one line: who, what, from where. Bounded in rate."""

from __future__ import annotations

import logging
import threading
import time

from alertctl.api.request_context import current_request

log = logging.getLogger("alertctl.audit")
LINES_PER_MINUTE = 60
"""Lines of one kind: somebody who guesses tokens must not fill the disk."""


class _RateBound:
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


_bound = _RateBound()


def log_change(caller: str, what: str) -> None:
    """Log an action of an authorized caller."""
    _write("change", logging.INFO, f"{caller} {what}")


def log_refusal(status: int, detail: str) -> None:
    """Log an answer 401 or 403."""
    request = current_request.get()
    _write(f"refusal {status}", logging.WARNING, f"refused {request.line if request else ''} with {status}: {detail}")


def _write(kind: str, level: int, line: str) -> None:
    is_admitted, omitted = _bound.admit(kind)
    if omitted:
        log.warning("%d more lines of the kind %s were left out", omitted, kind)
    if is_admitted:
        request = current_request.get()
        log.log(level, "%s (from %s)", line, request.client if request else "unknown")
