"""Keep the scheduled jobs running when the machine's clock is set, and notice that it was set.

The scheduler compares times of day. It waits for them on the monotonic clock, at most for the shortest interval.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.base import BaseTrigger

log = logging.getLogger("alertctl.daemon")
SIGNIFICANT_STEP = 60.0
"""Seconds by which the clock must be set to count; a time service corrects less without a step."""
DISTRUST_SECONDS = 3600.0
"""Seconds after the clock was set forward in which nothing is deleted or expires by age."""


class IntervalTrigger(BaseTrigger):  # type: ignore[misc]
    """Run a job again an interval after its last run.

    APScheduler's own interval trigger lists every run that was missed: after a step of a year, 41 s of CPU and 300 MB.
    """

    def __init__(self, seconds: float) -> None:
        self.interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return now + self.interval


class JobStore(MemoryJobStore):  # type: ignore[misc]
    """Run a job at once when its next run is further away than its interval: the clock was set back."""

    def get_due_jobs(self, now: datetime) -> list[Job]:
        for job in self.get_all_jobs():
            if job.next_run_time > now + job.trigger.interval:
                job.modify(next_run_time=now)
        due: list[Job] = super().get_due_jobs(now)
        return due


def _since_boot() -> float:
    """Return seconds that also pass while the machine is suspended, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ClockGuard:
    """Notices that the clock was set forward; ages are not trusted for an hour then.

    An operator has that time to correct a wrong clock before deliveries expire and the log is pruned.
    """

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = _since_boot) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._offset = clock() - monotonic()
        self._trusted_from = float("-inf")
        # Jobs and workers that run at the same time must all see a step.
        self._lock = threading.Lock()

    def is_trusted(self) -> bool:
        with self._lock:
            now = self._monotonic()
            offset = self._clock() - now
            step, self._offset = offset - self._offset, offset
            if step > SIGNIFICANT_STEP:
                self._trusted_from = now + DISTRUST_SECONDS
                log.warning(
                    "the clock was set forward by %.0f s: nothing expires or is pruned for an hour; check the clock",
                    step,
                )
            elif step < -SIGNIFICANT_STEP:
                self._trusted_from = float("-inf")
                log.warning("the clock was set back by %.0f s; check the clock", -step)
            return now >= self._trusted_from
