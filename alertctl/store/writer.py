"""The one thread through which a daemon writes: it commits whatever has gathered (group commit)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection

from alertctl.errors import Unreachable
from alertctl.store.engine import Store

T = TypeVar("T")
Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
GATHER = 500
"""Items at most in one transaction: bounds how long an early one waits for its commit."""


@dataclass(slots=True)
class _Job:
    work: Work
    item: Any
    future: Future[Any]


class Writer:
    """Takes work from many threads and does it in few transactions, each job answered after its commit.

    A job that raises takes nobody with it: the transaction is rolled back and its jobs are done again one by one.
    So a job must be a function of its connection and its item only.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self.commits = 0
        """Transactions committed so far (for benchmarks and metrics)."""
        self._thread = threading.Thread(target=self._run, name="alertctl-writer", daemon=True)
        self._thread.start()

    def submit_later(self, work: Work, item: Any) -> Future[Any]:
        """Do `work(connection, items)[i]` together with others of the same `work`; the future ends after the commit."""
        job = _Job(work, item, Future())
        with self._changed:
            if self._closed:
                raise Unreachable("the daemon is stopping")
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def submit(self, work: Work, item: Any) -> Any:
        """The same, waiting for the commit. Raises what `work` raised, or Unreachable."""
        return self.submit_later(work, item).result()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` alone among the others of its transaction. Raises what it raised, or Unreachable."""
        result: T = self.submit(_each, work)
        return result

    def close(self) -> None:
        """Finish what was handed in, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                gathered, self._waiting = self._waiting[:GATHER], self._waiting[GATHER:]
            if not gathered:
                return
            # From here on a job can't be cancelled any more: its future will surely be answered.
            jobs = [job for job in gathered if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._settle(jobs)

    def _settle(self, jobs: list[_Job]) -> None:
        try:
            results = self._store.write(lambda connection: _done(connection, jobs))
        except BaseException as error:
            self._settle_apart(jobs, error)
            return
        self.commits += 1
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)

    def _settle_apart(self, jobs: list[_Job], error: BaseException) -> None:
        # A database that is away is away for all of them: don't ask it once more for each.
        if len(jobs) == 1 or isinstance(error, Unreachable):
            for job in jobs:
                job.future.set_exception(error)
            return
        for job in jobs:
            self._settle([job])


def _each(connection: Connection, items: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in items]


def _done(connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
    results: list[Any] = []
    for work, group in groupby(jobs, key=lambda job: job.work):
        items = [job.item for job in group]
        answers = list(work(connection, items))
        if len(answers) != len(items):
            raise ValueError(f"{len(answers)} answers to {len(items)} items")
        results += answers
    return results
