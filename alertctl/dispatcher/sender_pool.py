"""The threads of one channel: they take parcels of one event each, urgent ones first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alertctl.models import Priority
from alertctl.outbox import AttemptResult, Claimed

RESERVED = 2
"""Threads beside the others that take urgent work only: a stalled provider must not hold up a fresh critical alert."""


@dataclass(frozen=True, slots=True)
class Job:
    """Deliveries of one event that are sent together. `expires` (monotonic seconds) is when their lease ends; `probe`:
    they are sent although the circuit breaker is open."""

    event: Any
    claimed: tuple[Claimed, ...]
    expires: float
    probe: bool

    @property
    def urgent(self) -> bool:
        return self.claimed[0].urgency in (Priority.CRITICAL, Priority.CRITICAL_RETRY)


class Senders:
    """Runs `send(job)` on daemon threads that are started as they are needed; hands every result to `done`."""

    def __init__(
        self,
        name: str,
        count: int,
        send: Callable[[Job], list[AttemptResult]],
        done: Callable[[list[AttemptResult]], None],
    ) -> None:
        self._name, self._count, self._send, self._done = name, count, send, done
        self._lock = threading.Lock()
        # Each of its own kind is woken, and no more of them than there is work: waking 64 threads for one job costs
        # more than sending it.
        self._work, self._urgent_work = threading.Condition(self._lock), threading.Condition(self._lock)
        self._urgent: deque[Job] = deque()
        self._normal: deque[Job] = deque()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._reserved: list[threading.Thread] = []
        self._closed = False

    def put(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            for job in jobs:
                (self._urgent if job.urgent else self._normal).append(job)
            self._grow()
            self._work.notify(len(jobs))
            self._urgent_work.notify(len(self._urgent))

    def _grow(self) -> None:
        missing = len(self._urgent) + len(self._normal) - self._idle
        for _ in range(min(missing, self._count - len(self._threads))):
            self._threads.append(self._begin(urgent_only=False))
        if self._urgent and len(self._threads) == self._count and len(self._reserved) < RESERVED:
            self._reserved.append(self._begin(urgent_only=True))

    def _begin(self, *, urgent_only: bool) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(urgent_only,), name=f"alertctl-{self._name}", daemon=True)
        thread.start()
        return thread

    def _run(self, urgent_only: bool) -> None:
        while (job := self._next(urgent_only)) is not None:
            self._done(self._send(job))

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

    def drain(self) -> list[Job]:
        """Take back what no thread has begun with."""
        with self._lock:
            jobs = [*self._urgent, *self._normal]
            self._urgent.clear()
            self._normal.clear()
            return jobs

    def close(self) -> None:
        """Let the threads end once they are done; waits for none."""
        with self._lock:
            self._closed = True
            self._work.notify_all()
            self._urgent_work.notify_all()
