"""Delete old, final deliveries from the log, in small batches that do not block other writers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, tuple_

from alertctl.config import Settings
from alertctl.db import TransactionRunner
from alertctl.ids import first_id
from alertctl.models import Status
from alertctl.outbox.tables import SWEEP, delivery, event, pauses, person, thread
from alertctl.schemas import Pruned

FINAL = (Status.SUCCESS, Status.FAILED, Status.SUPPRESSED)
"""The statuses that a final delivery can have."""
KNOWN_FOR = timedelta(days=30)
"""Age at which a person is looked up again."""
KEEP_ENDED_THREADS = timedelta(days=7)
"""An event of before a thread's end may still be retried and joins it."""
REST_SECONDS = 0.05
"""Seconds between two batches, in which others can write."""


def ages(settings: Settings, older: timedelta | None = None) -> dict[Status, float]:
    """Return how many days final deliveries stay in the log, by status: `older` for all, else the settings."""
    if older is not None:
        return dict.fromkeys(FINAL, older.total_seconds() / 86400)
    days = settings.prune
    return dict(zip(FINAL, (days.success_days, days.failed_days, days.suppressed_days), strict=True))


def prune_by(
    connect: TransactionRunner, days: Mapping[Status, float], now: datetime, *, dry_run: bool = False
) -> Pruned:
    """Prune, or with `dry_run` only count the deliveries that would be deleted."""
    count = connect.write(partial(_count_prunable, days=days, now=now)) if dry_run else prune(connect, days, now)
    return Pruned(deliveries=count, dry_run=dry_run)


def _count_prunable(connection: Connection, days: Mapping[Status, float], now: datetime) -> int:
    counts = (select(func.count()).where(*_is_old(status, _before(now, keep))) for status, keep in days.items())
    return sum(connection.execute(count).scalar_one() for count in counts)


def _before(now: datetime, days: float) -> str:
    return first_id(now - timedelta(days=days))


def _is_old(status: Status, before: str) -> tuple[ColumnElement[bool], ...]:
    return delivery.c.status == status.value, delivery.c.next_attempt_at.is_(None), delivery.c.id < before


def prune(connect: TransactionRunner, days: Mapping[Status, float], now: datetime) -> int:
    """Delete final deliveries older than their status's days, with attempts and emptied events. Returns how many.

    Pauses that ended as long ago are forgotten too, threads that ended KEEP_ENDED_THREADS ago, and people that were
    looked up KNOWN_FOR ago.
    """
    deleted = 0
    for status, keep in days.items():
        oldest = _before(now, keep)
        deleted += _in_batches(connect, partial(_delete_deliveries, status=status, before=oldest))
    _in_batches(connect, partial(_delete_events, before=_before(now, min(days.values()))))
    # Each rate limited address leaves a row, and each claim reads all of them.
    ended = delete(pauses).where(pauses.c.until < now - timedelta(days=min(days.values())))
    connect.write(lambda connection: connection.execute(ended))
    _in_batches(connect, partial(_delete_threads, before=now - KEEP_ENDED_THREADS))
    _in_batches(connect, partial(_delete_people, before=now - KNOWN_FOR))
    return deleted


def _in_batches(connect: TransactionRunner, work: Callable[[Connection], int]) -> int:
    deleted = 0
    while batch := connect.write(work):
        deleted += batch
        time.sleep(REST_SECONDS)
    return deleted


def _delete_deliveries(connection: Connection, status: Status, before: str) -> int:
    old = select(delivery.c.id).where(*_is_old(status, before)).order_by(delivery.c.id).limit(SWEEP)
    return connection.execute(delete(delivery).where(delivery.c.id.in_(old.scalar_subquery()))).rowcount


def _delete_events(connection: Connection, before: str) -> int:
    empty = (event.c.id < before, ~exists().where(delivery.c.event_id == event.c.id))
    old = select(event.c.id).where(*empty).order_by(event.c.id).limit(SWEEP)
    return connection.execute(delete(event).where(event.c.id.in_(old.scalar_subquery()))).rowcount


def _delete_threads(connection: Connection, before: datetime) -> int:
    ended = select(thread.c.id).where(thread.c.ends_at < before).limit(SWEEP)
    return connection.execute(delete(thread).where(thread.c.id.in_(ended.scalar_subquery()))).rowcount


def _delete_people(connection: Connection, before: datetime) -> int:
    outdated = (person.c.channel, person.c.email_key)
    rows = select(*outdated).where(person.c.looked_up_at < before).limit(SWEEP)
    return connection.execute(delete(person).where(tuple_(*outdated).in_(rows))).rowcount
