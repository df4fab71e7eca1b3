"""The jobs that a worker has handed out, and the renewal of their leases."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from alertctl import outbox
from alertctl.dispatcher.sender_pool import Job

RENEW_BELOW = 0.75
"""Share of a lease below which it is renewed: a mail server may take minutes to answer, and a crash shows in time."""


class JobsInHand:
    """Jobs without a result. Safe for many threads; `renew` and `confirm` belong to the worker's thread."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._lock = threading.Lock()
        self._jobs: set[Job] = set()
        self._renewed: set[str] = set()
        self.lease_ends = 0.0
        """Monotonic seconds at which the last lease ends."""

    def __len__(self) -> int:
        return len(self._jobs)

    def renewal_time(self) -> float:
        """Return the time (monotonic) before which a lease must end to be renewed now."""
        return time.monotonic() + self._lease * RENEW_BELOW

    @property
    def check_seconds(self) -> float:
        """How often to call `renew`."""
        return self._lease * (1 - RENEW_BELOW)

    def add(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            self._jobs.update(jobs)

    def remove(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            self._jobs.difference_update(jobs)

    def stalled(self, seconds: float) -> int:
        """Return how many jobs have been with the provider for longer than this."""
        latest = time.monotonic() - seconds
        with self._lock:
            return sum(job.started_at < latest for job in self._jobs)

    def renew(self, connection: Connection, now: datetime) -> None:
        """Renew, in this transaction, the leases of which a quarter is over. One that has ended stays lost."""
        moment = time.monotonic()
        with self._lock:
            due = [job for job in self._jobs if moment < job.expires < moment + self._lease * RENEW_BELOW]
        claims = [claimed for job in due for claimed in job.claimed]
        self._renewed = outbox.renew(connection, claims, now + timedelta(seconds=self._lease))

    def confirm(self) -> None:
        """Extend the renewed jobs. Called after the commit of `renew`'s transaction."""
        if not self._renewed:
            return
        expires = time.monotonic() + self._lease
        with self._lock:
            for job in self._jobs:
                if all(claimed.delivery_id in self._renewed for claimed in job.claimed):
                    job.expires = self.lease_ends = expires
        self._renewed = set()
