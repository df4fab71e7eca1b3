"""The running daemons: their common heartbeat, and each with the hash of its routes.

Callers are warned when no process sends their events, and when daemons have different routes.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from alertctl.db import upsert
from alertctl.outbox.tables import instance as instance_table
from alertctl.outbox.tables import run
from alertctl.schemas import InstanceItem

ALIVE = timedelta(seconds=150)
"""Age at which a heartbeat no longer counts: five times a daemon's interval, and enough for cron's every minute."""
_HEARTBEAT = {"job": "heartbeat", "period": "latest"}


@dataclass(frozen=True, slots=True)
class Instance:
    """One running daemon, as its reports name it."""

    id: str
    host: str
    pid: int

    @classmethod
    def current(cls) -> Instance:
        return cls(str(uuid.uuid4()), socket.gethostname()[:255], os.getpid())


def save_instance(connection: Connection, instance: Instance, routes_hash: str, now: datetime) -> None:
    """Record that this daemon runs with these routes, and delete daemons that have not reported for a day."""
    state = {"routes_hash": routes_hash, "reported_at": now}
    row = {"id": instance.id, "host": instance.host, "pid": instance.pid}
    upsert(connection, instance_table, row | state, state)
    connection.execute(delete(instance_table).where(instance_table.c.reported_at < now - timedelta(days=1)))


def remove_instance(connection: Connection, instance: Instance) -> None:
    """Delete this daemon, which stops."""
    connection.execute(delete(instance_table).where(instance_table.c.id == instance.id))


def live_instances(connection: Connection, now: datetime) -> list[InstanceItem]:
    """Return the daemons that reported recently, by host and process id."""
    live = instance_table.c.reported_at > now - ALIVE
    rows = select(instance_table).where(live).order_by(instance_table.c.host, instance_table.c.pid)
    return [
        InstanceItem(host=row.host, pid=row.pid, routes_hash=row.routes_hash, reported_at=row.reported_at)
        for row in connection.execute(rows)
    ]


def beat(connection: Connection, now: datetime) -> None:
    """Record that a process sends this database's deliveries."""
    upsert(connection, run, {**_HEARTBEAT, "started_at": now}, {"started_at": now})


def has_daemon(connection: Connection, now: datetime) -> bool:
    """Return whether a daemon, or `dispatch --once` in cron, has sent this database's deliveries lately."""
    latest = select(run.c.started_at).where(*(run.c[name] == value for name, value in _HEARTBEAT.items()))
    last = connection.execute(latest).scalar()
    return last is not None and last > now - ALIVE
