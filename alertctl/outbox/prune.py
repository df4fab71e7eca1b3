"""Delete old, final deliveries from the log, in small batches that do not block other writers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, func, select, tuple_

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
    deleted = sum(_delete(connect, delivery, *_is_old(status, _before(now, keep))) for status, keep in days.items())
    oldest = min(days.values())
    is_empty = ~exists().where(delivery.c.event_id == event.c.id)
    _delete(connect, event, event.c.id < _before(now, oldest), is_empty)
    # Each rate limited address leaves a row, and each claim reads all of them.
    _delete(connect, pauses, pauses.c.until < now - timedelta(days=oldest))
    _delete(connect, thread, thread.c.ends_at < now - KEEP_ENDED_THREADS)
    _delete(connect, person, person.c.looked_up_at < now - KNOWN_FOR)
    return deleted


def _delete(connect: TransactionRunner, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Delete the rows that fulfil these conditions, in batches. Returns how many."""
    key = tuple(table.primary_key)
    batch = select(*key).where(*conditions).order_by(*key).limit(SWEEP)
    statement = delete(table).where(tuple_(*key).in_(batch))
    deleted = 0
    while count := connect.write(lambda connection: connection.execute(statement).rowcount):
        deleted += count
        time.sleep(REST_SECONDS)
    return deleted
