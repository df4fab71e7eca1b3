"""The sending threads of one channel and the jobs in hand: those that wait for a thread and those being sent."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from alertctl import outbox
from alertctl.models import Priority
from alertctl.outbox import Claimed

RESERVED = 2
"""Extra threads for urgent jobs only: a stalled provider must not hold up a fresh critical alert."""
RENEW_BELOW = 0.75
"""Share of a lease below which it is renewed: a mail server may take minutes to answer, and a crash shows in time."""


@dataclass(eq=False, slots=True)
class Job:
    """Deliveries of one event that are sent together.

    `expires` (monotonic seconds) is when their lease ends; the pool renews it while the job is in hand.
    `probe`: they are sent although the breaker is open.
    """

    event: Any
    claimed: tuple[Claimed, ...]
    expires: float
    probe: bool
    started_at: float = math.inf
    """Monotonic seconds; infinite until a thread has started it."""

    @property
    def is_urgent(self) -> bool:
        return self.claimed[0].priority in (Priority.CRITICAL, Priority.CRITICAL_RETRY)


def group_jobs(
    taken: Sequence[Claimed], events: Mapping[str, Any], size: int, expires: float, *, probe: bool
) -> list[Job]:
    """Group claimed deliveries into jobs of one event with at most `size` deliveries."""
    if size == 1:
        return [Job(events[claimed.event_id], (claimed,), expires, probe) for claimed in taken]

    def key(claimed: Claimed) -> tuple[int, str, bool]:
        return claimed.priority, claimed.event_id, claimed.plain

    jobs: list[Job] = []
    for (_, event_id, _), group in groupby(sorted(taken, key=key), key=key):
        together = tuple(group)
        for start in range(0, len(together), size):
            jobs.append(Job(events[event_id], together[start : start + size], expires, probe))
    return jobs


class SenderPool:
    """Runs `send(job)` on daemon threads, which it starts when needed, and renews the leases of the jobs in hand.

    A job is in hand until `finish`. `renew` and `confirm` belong to the worker's thread.
    """

    def __init__(self, name: str, count: int, lease: float, send: Callable[[Job], None]) -> None:
        self._name = name
        self._count = count
        self._lease = lease
        self._send = send
        self._lock = threading.Lock()
        # One condition for each kind of thread, to wake no more threads than there are jobs: waking 64 threads for one
        # job costs more than sending it.
        self._work, self._urgent_work = threading.Condition(self._lock), threading.Condition(self._lock)
        self._urgent: deque[Job] = deque()
        self._normal: deque[Job] = deque()
        self._in_hand: set[Job] = set()
        self._renewed: set[str] = set()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._reserved: list[threading.Thread] = []
        self._closed = False
        self.lease_ends = 0.0
        """Monotonic seconds at which the last lease ends."""

    def __len__(self) -> int:
        return len(self._in_hand)

    def put(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            self._in_hand.update(jobs)
            for job in jobs:
                (self._urgent if job.is_urgent else self._normal).append(job)
            self._start_threads()
            self._work.notify(len(jobs))
            self._urgent_work.notify(len(self._urgent))

    def _start_threads(self) -> None:
        missing = len(self._urgent) + len(self._normal) - self._idle
        for _ in range(min(missing, self._count - len(self._threads))):
            self._threads.append(self._start_thread(urgent_only=False))
        if self._urgent and len(self._threads) == self._count and len(self._reserved) < RESERVED:
            self._reserved.append(self._start_thread(urgent_only=True))

    def _start_thread(self, *, urgent_only: bool) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(urgent_only,), name=f"alertctl-{self._name}", daemon=True)
        thread.start()
        return thread

    def _run(self, urgent_only: bool) -> None:
        while (job := self._next(urgent_only)) is not None:
            self._send(job)

    def _next(self, urgent_only: bool) -> Job | None:
        work = self._urgent_work if urgent_only else self._work
        with self._lock:
            self._idle += not urgent_only
            while not (self._closed or self._urgent or (self._normal and not urgent_only)):
                work.wait()
            self._idle -= not urgent_only
            if self._closed:
                return None
            return self._urgent.popleft() if self._urgent else self._normal.popleft()

    def finish(self, job: Job) -> None:
        """Remove a job from those in hand, because it has been sent or given up. Its lease is no longer renewed."""
        with self._lock:
            self._in_hand.discard(job)

    def take_back(self, expires_before: float = math.inf) -> list[Claimed]:
        """Remove the jobs that no thread has started and whose lease ends before this time (monotonic).

        Return their deliveries.
        """
        with self._lock:
            jobs = [job for job in (*self._urgent, *self._normal) if job.expires < expires_before]
            self._in_hand.difference_update(jobs)
            self._urgent = deque(job for job in self._urgent if job in self._in_hand)
            self._normal = deque(job for job in self._normal if job in self._in_hand)
        return [claimed for job in jobs for claimed in job.claimed]

    def stalled(self, seconds: float) -> int:
        """Return how many jobs have been with the provider for longer than this."""
        latest = time.monotonic() - seconds
        with self._lock:
            return sum(job.started_at < latest for job in self._in_hand)

    @property
    def renewal_time(self) -> float:
        """The time (monotonic) before which a lease must end to be renewed now."""
        return time.monotonic() + self._lease * RENEW_BELOW

    @property
    def check_seconds(self) -> float:
        """How often to call `renew`."""
        return self._lease * (1 - RENEW_BELOW)

    def renew(self, connection: Connection, now: datetime) -> None:
        """Renew, in this transaction, the leases of which a quarter is over. One that has ended stays lost."""
        moment, renewal_time = time.monotonic(), self.renewal_time
        with self._lock:
            due = [job for job in self._in_hand if moment < job.expires < renewal_time]
        claims = [claimed for job in due for claimed in job.claimed]
        self._renewed = outbox.renew(connection, claims, now + timedelta(seconds=self._lease))

    def confirm(self) -> None:
        """Extend the renewed jobs. Called after the commit of `renew`'s transaction."""
        if not self._renewed:
            return
        expires = time.monotonic() + self._lease
        with self._lock:
            for job in self._in_hand:
                if all(claimed.delivery_id in self._renewed for claimed in job.claimed):
                    job.expires = self.lease_ends = expires
        self._renewed = set()

    def close(self) -> None:
        """Let the threads end after their current job, without waiting for them."""
        with self._lock:
            self._closed = True
            self._work.notify_all()
            self._urgent_work.notify_all()
