"""The thread through which a daemon writes. It commits all waiting work together (group commit)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from alertctl.db.engine import Store, write_nothing
from alertctl.errors import Stopping, Unreachable

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")
P = ParamSpec("P")
Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Returns one outcome for each item, in order; an exception is raised to the caller of that item alone."""
GATHER = 500
"""Items in one transaction at most: bounds how long the first of them waits for its commit."""
CHECK_SECONDS = 3.0
"""Seconds that a commit may take before the database counts as not taking writes."""


@dataclass(slots=True)
class _Job:
    work: Work
    item: Any
    future: Any
    """A `concurrent.futures.Future`, or one of the event loop `loop`."""
    loop: AbstractEventLoop | None = None


class Writer:
    """Does the work of many threads in few transactions, and answers each job after its commit.

    If a job raises, the transaction is rolled back and its jobs run again one by one, so that the others succeed. So a
    job must depend on its connection and its item only.
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
        future: Future[Any] = Future()
        self._add(_Job(work, item, future))
        return future

    async def submit_soon(self, work: Work, item: Any) -> Any:
        """Do the same for a coroutine. Cancelling it doesn't cancel the work. A commit wakes the event loop once."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        future = loop.create_future()
        self._add(_Job(work, item, future, loop))
        return await future

    def _add(self, job: _Job) -> None:
        with self._changed:
            if self._closed:
                raise Stopping("the daemon is stopping")
            self._waiting.append(job)
            self._changed.notify()

    def submit(self, work: Work, item: Any) -> Any:
        """Do the same and wait for the commit. Raises what `work` raised, or Unreachable."""
        return self.submit_later(work, item).result()

    def write(self, work: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T:
        """Run `work` in a transaction that it may share with other work. Raises what it raised, or Unreachable."""
        result: T = self.submit(_call_each, lambda connection: work(connection, *values, **options))
        return result

    def read(self, work: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T:
        """Run `work` on a connection of its own, on the caller's thread. Raises Unreachable."""
        return self._store.read(work, *values, **options)

    def check(self) -> None:
        """Prove that this writer can commit. Raises Unreachable after `CHECK_SECONDS` at the latest."""
        future = self.submit_later(_check, None)
        try:
            future.result(CHECK_SECONDS)
        except TimeoutError:
            future.cancel()
            raise Unreachable(f"database {self._store.shown}: no commit within {CHECK_SECONDS:.0f} s") from None

    def close(self) -> None:
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
            # From here on a job can't be cancelled, so its future will be answered.
            jobs = [job for job in gathered if job.loop or job.future.set_running_or_notify_cancel()]
            if jobs:
                self._run_jobs(jobs)

    def _run_jobs(self, jobs: list[_Job]) -> None:
        outcomes: Sequence[Any]
        try:
            outcomes = self._store.write(_run_work, jobs)
            self.commits += 1
        except BaseException as error:
            # An unreachable database is so for all of them: don't try it again for each.
            if len(jobs) > 1 and not isinstance(error, Unreachable):
                for job in jobs:
                    self._run_jobs([job])
                return
            outcomes = [error] * len(jobs)
        _resolve_jobs(jobs, outcomes)


def _resolve_jobs(jobs: Sequence[_Job], outcomes: Sequence[Any]) -> None:
    """Resolve each job's future; those of an event loop together, on its own thread."""
    by_loop: dict[AbstractEventLoop | None, list[tuple[Any, Any]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        by_loop.setdefault(job.loop, []).append((job.future, outcome))
    for loop, pairs in by_loop.items():
        if loop is None:
            _resolve(pairs)
        else:
            # A closed loop has no waiting callers.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[Any, Any]]) -> None:
    for future, outcome in pairs:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _call_each(connection: Connection, items: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in items]


def _check(connection: Connection, items: Sequence[None]) -> Sequence[None]:
    """Write once, however many callers check at the same time."""
    write_nothing(connection)
    return items


def _run_work(connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
    results: list[Any] = []
    for work, group in groupby(jobs, key=lambda job: job.work):
        items = [job.item for job in group]
        answers = list(work(connection, items))
        if len(answers) != len(items):
            raise ValueError(f"{len(answers)} answers to {len(items)} items")
        results += answers
    return results
