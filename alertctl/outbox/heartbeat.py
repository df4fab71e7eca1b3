"""The common heartbeat of a database's daemons, so that a caller can warn that nobody sends what it records."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from alertctl.db import upsert
from alertctl.outbox.tables import run

ALIVE = timedelta(seconds=150)
"""Age at which a heartbeat no longer counts: five times a daemon's interval, and enough for cron's every minute."""
_ROW = {"job": "heartbeat", "period": "latest"}


def beat(connection: Connection, now: datetime) -> None:
    """Record that a process sends this database's deliveries."""
    upsert(connection, run, {**_ROW, "started_at": now}, {"started_at": now})


def has_daemon(connection: Connection, now: datetime) -> bool:
    """Return whether a daemon, or `dispatch --once` in cron, has sent this database's deliveries lately."""
    latest = select(run.c.started_at).where(*(run.c[name] == value for name, value in _ROW.items()))
    last = connection.execute(latest).scalar()
    return last is not None and last > now - ALIVE
