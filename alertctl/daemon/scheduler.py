"""Scheduled jobs: wake the dispatcher, expire deliveries, prune once a day on one daemon, beat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Connection, delete

from alertctl import outbox
from alertctl.config import Settings
from alertctl.daemon.clock import IntervalTrigger, JobStore
from alertctl.db import TransactionRunner, insert_new
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import AlertctlError, Stopping
from alertctl.models import Run, table_of
from alertctl.text import counted

log = logging.getLogger("alertctl.daemon")
run = table_of(Run)

DISPATCH_SECONDS = 2
BEAT_SECONDS = 5
EXPIRE_SECONDS = 30
PRUNE_CHECK_SECONDS = 1800
"""How often a daemon checks whether today's prune is done; the first daemon to check does it."""
KEEP_RUNS = timedelta(days=7)
STALE_SECONDS = 60.0
"""Time without a heartbeat after which the scheduler counts as stuck."""


class SchedulerHeartbeat:
    """The time of the scheduler's last heartbeat (monotonic seconds)."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        self._last = time.monotonic()

    @property
    def is_beating(self) -> bool:
        return time.monotonic() - self._last < STALE_SECONDS


def schedule(
    settings: Settings,
    transactions: TransactionRunner,
    dispatcher: Dispatcher,
    heartbeat: SchedulerHeartbeat,
    clock: Callable[[], datetime],
    is_clock_trusted: Callable[[], bool],
    expired: Callable[[int], None],
) -> BackgroundScheduler:
    """Return a scheduler, not yet started. A late run isn't skipped, several late runs of a job are run once."""
    days = outbox.ages(settings)
    lease = DispatchOptions.of(settings).lease
    unfinished = False

    def prune() -> None:
        nonlocal unfinished
        if not is_clock_trusted():
            return
        try:
            now = clock()
            is_first = transactions.write(first_of_period, "prune", f"{now:%Y-%m-%d}", now)
            if is_first or unfinished:
                unfinished = True
                log.info("pruned %d old deliveries", outbox.prune(transactions, days, now))
                unfinished = False
        except AlertctlError as error:
            log_failure("prune", error)

    def expire() -> None:
        if is_clock_trusted():
            expired(_expire(transactions, dispatcher, settings.alertctl.max_age, clock))

    scheduler = BackgroundScheduler(
        jobstores={"default": JobStore()},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        timezone="UTC",
    )
    scheduler.add_job(dispatcher.wake, IntervalTrigger(DISPATCH_SECONDS), id="dispatch")
    scheduler.add_job(heartbeat.beat, IntervalTrigger(BEAT_SECONDS), id="heartbeat")
    scheduler.add_job(expire, IntervalTrigger(EXPIRE_SECONDS), id="expire")
    correct_times = partial(_correct_times, transactions, dispatcher, lease, clock)
    scheduler.add_job(correct_times, IntervalTrigger(EXPIRE_SECONDS), id="correct_times", next_run_time=clock())
    scheduler.add_job(prune, IntervalTrigger(PRUNE_CHECK_SECONDS), id="prune", next_run_time=clock())
    return scheduler


def _expire(
    transactions: TransactionRunner, dispatcher: Dispatcher, max_age: float, clock: Callable[[], datetime]
) -> int:
    """Expire deliveries that waited too long. Return how many."""

    def expire(connection: Connection) -> int:
        # Read breakers and clock now: the transaction may have waited for others.
        return outbox.expire(connection, max_age, dispatcher.paused, clock())

    total = 0
    try:
        while count := transactions.write(expire):
            log.warning("%s expired while waiting", counted(count, "delivery"))
            total += count
    except AlertctlError as error:
        log_failure("expire", error)
    return total


def _correct_times(
    transactions: TransactionRunner, dispatcher: Dispatcher, lease: float, clock: Callable[[], datetime]
) -> None:
    try:
        while count := transactions.write(outbox.correct_future_times, clock(), lease):
            log.warning("%s scheduled by a clock that was ahead: due now", counted(count, "delivery"))
            dispatcher.wake()
    except AlertctlError as error:
        log_failure("correcting times", error)


def log_failure(job: str, error: AlertctlError) -> None:
    """Log that a job failed. While the daemon stops, that is no failure: the job runs after the next start."""
    if not isinstance(error, Stopping):
        log.warning("%s failed: %s; retrying later", job, error)


def first_of_period(connection: Connection, job: str, period: str, now: datetime) -> bool:
    """Return whether this daemon does the job in this period: the first to insert the unique row does."""
    row = {"job": job, "period": period, "started_at": now}
    first = insert_new(connection, run, [row]) == 1
    if first:
        # Keep recent rows: another daemon's clock may still be in the period before.
        connection.execute(delete(run).where(run.c.job == job, run.c.started_at < now - KEEP_RUNS))
    return first
