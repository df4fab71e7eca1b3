"""Taking old, final deliveries out of the log, in small batches that stop nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, delete, exists, select
from sqlmodel import SQLModel

from alertctl.models import Event, Status, first_id
from alertctl.outbox.rows import SWEEP, delivery, pauses
from alertctl.store import Connect

event = SQLModel.metadata.tables[str(Event.__tablename__)]
REST = 0.05
"""Seconds between two batches: others come to write in them."""


def prune(connect: Connect, days: Mapping[Status, int], now: datetime) -> int:
    """Delete final deliveries older than their status's days, with attempts and emptied events. Returns how many.

    Pauses that ended as long ago are forgotten too.
    """
    gone = 0
    for status, keep in days.items():
        oldest = first_id(now - timedelta(days=keep))
        gone += _in_batches(connect, partial(_delete_deliveries, status=status, before=oldest))
    _in_batches(connect, partial(_delete_events, before=first_id(now - timedelta(days=min(days.values())))))
    connect.write(partial(_forget_pauses, before=now - timedelta(days=min(days.values()))))
    return gone


def _in_batches(connect: Connect, work: Callable[[Connection], int]) -> int:
    gone = 0
    while batch := connect.write(work):
        gone += batch
        time.sleep(REST)
    return gone


def _delete_deliveries(connection: Connection, status: Status, before: str) -> int:
    final = (delivery.c.status == status.value, delivery.c.next_attempt_at.is_(None), delivery.c.id < before)
    old = select(delivery.c.id).where(*final).order_by(delivery.c.id).limit(SWEEP)
    return connection.execute(delete(delivery).where(delivery.c.id.in_(old.scalar_subquery()))).rowcount


def _forget_pauses(connection: Connection, before: datetime) -> int:
    """Every address that was ever rate limited has left a row, and each claim reads them all."""
    return connection.execute(delete(pauses).where(pauses.c.until < before)).rowcount


def _delete_events(connection: Connection, before: str) -> int:
    empty = (event.c.id < before, ~exists().where(delivery.c.event_id == event.c.id))
    old = select(event.c.id).where(*empty).order_by(event.c.id).limit(SWEEP)
    return connection.execute(delete(event).where(event.c.id.in_(old.scalar_subquery()))).rowcount
