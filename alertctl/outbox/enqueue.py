"""Where a delivery's life begins, and where a person begins it once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Insert, case, exists, insert, select, update

from alertctl.channels import CHANNEL_NAMES
from alertctl.content import Severity
from alertctl.db import announce, bulk_parameter, bulk_rows
from alertctl.ids import new_id
from alertctl.models import Priority, Status
from alertctl.outbox.breaker_reports import request_probes
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.tables import SWEEP, delivery, event
from alertctl.routing import Target
from alertctl.schemas import DeliveryItem


@dataclass(frozen=True, slots=True)
class Resent:
    """What a resend did to one delivery; `why_not` is None when it is due again."""

    delivery_id: str
    why_not: str | None


@dataclass(frozen=True, slots=True)
class Routed:
    """A written event and the targets it was routed to."""

    event_id: str
    event_type: str
    urgency: int
    targets: Iterable[Target]


def enqueue(connection: Connection, routed: Iterable[Routed], now: datetime) -> dict[str, list[DeliveryItem]]:
    """One delivery for each target of each event, due at once or born suppressed. Returns them by event."""
    rows = (_row(one, target, now) for one in routed for target in one.targets)
    born: dict[str, list[DeliveryItem]] = defaultdict(list)
    begin_change(connection)
    while part := list(islice(rows, SWEEP)):
        connection.execute(_enqueue(connection.dialect.name), bulk_parameter(connection, part))
        for row in part:
            born[row["event_id"]].append(_born(row))
    if born:
        announce(connection)
    return born


def _born(row: Mapping[str, Any]) -> DeliveryItem:
    """A delivery as the log shows it at its birth, without asking the database for what was just written."""
    return DeliveryItem(
        id=row["id"],
        event_type=row["event_type"],
        channel=row["channel"],
        to=row["address"],
        status=row["status"],
        error=row["error"],
        attempts=0,
        next_attempt_at=row["next_attempt_at"],
        created_at=row["created_at"],
        event_id=row["event_id"],
        updated_at=row["updated_at"],
    )


_BORN = (
    *("id", "event_id", "event_type", "channel", "address", "address_key", "rule", "user_id", "status", "error"),
    *("attempts", "waiting_since", "urgency", "next_attempt_at", "created_at", "updated_at"),
    "dedup_hash",
)


@cache
def _enqueue(dialect: str) -> Insert:
    born = bulk_rows(dialect, (delivery.c[name] for name in _BORN))
    return insert(delivery).from_select([*_BORN, "change"], select(*born.c, this_change()), include_defaults=False)


def _row(one: Routed, target: Target, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(now),
        "event_id": one.event_id,
        "event_type": one.event_type,
        "channel": target.channel,
        "address": target.address,
        "address_key": target.key,
        "rule": target.rule,
        "user_id": target.user_id,
        "status": Status.SUPPRESSED.value if target.suppressed_reason else Status.PENDING.value,
        "error": target.suppressed_reason,
        "attempts": 0,
        "waiting_since": now,
        "urgency": one.urgency,
        "next_attempt_at": None if target.suppressed_reason else now,
        "created_at": now,
        "updated_at": now,
        "dedup_hash": target.dedup_hash,
    }


def resend(
    connection: Connection,
    ids: Sequence[str],
    by: str,
    now: datetime,
    *,
    again: bool = False,
    enabled: Collection[str] = CHANNEL_NAMES,
) -> list[Resent]:
    """Make deliveries due at once in a new round of attempts. One that arrived is sent once more only if `again`.
    What goes to a channel that isn't `enabled` is left alone: nobody would send it.

    A person who resends has repaired something: all open circuit breakers probe at once.
    """
    results: list[Resent] = []
    begin_change(connection)
    for start in range(0, len(ids), SWEEP):
        part = list(ids[start : start + SWEEP])
        locked = (
            select(delivery.c.id, delivery.c.status, delivery.c.channel)
            .where(delivery.c.id.in_(part))
            .with_for_update()
        )
        found = {row.id: row for row in connection.execute(locked)}
        outcomes = [Resent(one, _why_not(found.get(one), again, enabled)) for one in part]
        _restart(connection, [one.delivery_id for one in outcomes if one.why_not is None], by, now)
        results += outcomes
    request_probes(connection)
    announce(connection)
    return results


def _why_not(row: Any, again: bool, enabled: Collection[str]) -> str | None:
    if row is None:
        return "no such delivery"
    if row.status == Status.SENDING:
        return "it is being sent right now"
    if row.status == Status.SUCCESS and not again:
        return "it has arrived already"
    if row.channel not in enabled:
        return f"{row.channel} is switched off ({row.channel.upper()}_ENABLED)"
    return None


_IS_CRITICAL = exists().where(event.c.id == delivery.c.event_id, event.c.severity == Severity.CRITICAL.value)


def _restart(connection: Connection, ids: Sequence[str], by: str, now: datetime) -> None:
    if ids:
        connection.execute(
            update(delivery)
            .where(delivery.c.id.in_(ids))
            .values(
                status=Status.PENDING.value,
                error=None,
                reason=None,
                round_start=delivery.c.attempts,
                schedule_step=0,
                waiting_since=now,
                urgency=case((_IS_CRITICAL, Priority.CRITICAL), else_=Priority.NORMAL),
                next_attempt_at=now,
                requested_by=by[:254],
                updated_at=now,
                change=this_change(),
            )
        )
