"""The outbox's tables, and a claimed delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import SQLModel

from alertctl.errors import Reason
from alertctl.models import Attempt, BreakerReport, Delivery, Event, Pause, ProbeRequest

TABLES = SQLModel.metadata.tables
delivery = TABLES[str(Delivery.__tablename__)]
attempt = TABLES[str(Attempt.__tablename__)]
pauses = TABLES[str(Pause.__tablename__)]
event = TABLES[str(Event.__tablename__)]
breaker_report = TABLES[str(BreakerReport.__tablename__)]
probe_request = TABLES[str(ProbeRequest.__tablename__)]

INTERRUPTED = "interrupted"
"""The code of an attempt whose sender died: the message may have arrived."""
SWEEP = 1000
"""Rows that one statement writes at most, so that no transaction takes long."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process may send until its lease ends. `attempt` is the fencing token."""

    delivery_id: str
    event_id: str
    address: str
    address_key: str
    priority: int
    attempt: int
    tries: int
    since: datetime
    plain: bool
    schedule_step: int = 0
    was_refused: bool = False
    """Its last attempt was refused for our credentials or settings."""


def claimed_from(row: Any) -> Claimed:
    return Claimed(
        delivery_id=row.id,
        event_id=row.event_id,
        address=row.address,
        address_key=row.address_key,
        priority=row.priority,
        attempt=row.attempts,
        tries=row.attempts - row.attempts_before_resend,
        since=row.queued_at,
        plain=row.reason == Reason.REJECTED,
        schedule_step=row.schedule_step,
        was_refused=row.reason == Reason.CONFIG,
    )
