"""Write new deliveries into the outbox."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Insert, insert, select

from alertctl.db import announce, bulk_parameter, bulk_rows
from alertctl.ids import new_id
from alertctl.models import Status
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.tables import SWEEP, delivery
from alertctl.routing import Target
from alertctl.schemas import DeliveryItem


@dataclass(frozen=True, slots=True)
class Routed:
    """A written event and the targets to which it was routed."""

    event_id: str
    event_type: str
    priority: int
    targets: Iterable[Target]


def enqueue(connection: Connection, routed: Iterable[Routed], now: datetime) -> dict[str, list[DeliveryItem]]:
    """Insert one delivery for each target of each event, due at once or suppressed. Returns them by event."""
    rows = (_row(event, target, now) for event in routed for target in event.targets)
    items: dict[str, list[DeliveryItem]] = defaultdict(list)
    begin_change(connection)
    while batch := list(islice(rows, SWEEP)):
        connection.execute(_insert_deliveries(connection.dialect.name), bulk_parameter(connection, batch))
        for row in batch:
            items[row["event_id"]].append(_to_item(row))
    if items:
        announce(connection)
    return items


def _to_item(row: Mapping[str, Any]) -> DeliveryItem:
    """Return a new delivery as the log shows it, without reading back what was just written."""
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


_COLUMNS = (
    *(
        "id",
        "event_id",
        "event_type",
        "channel",
        "address",
        "address_key",
        "routing_reason",
        "user_id",
        "status",
        "error",
    ),
    *("attempts", "queued_at", "priority", "next_attempt_at", "created_at", "updated_at"),
    "dedup_hash",
)


@cache
def _insert_deliveries(dialect: str) -> Insert:
    new = bulk_rows(dialect, (delivery.c[name] for name in _COLUMNS))
    return insert(delivery).from_select([*_COLUMNS, "change"], select(*new.c, this_change()), include_defaults=False)


def _row(event: Routed, target: Target, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(now),
        "event_id": event.event_id,
        "event_type": event.event_type,
        "channel": target.channel,
        "address": target.address,
        "address_key": target.key,
        "routing_reason": target.routing_reason,
        "user_id": target.user_id,
        "status": Status.SUPPRESSED.value if target.suppressed_reason else Status.PENDING.value,
        "error": target.suppressed_reason,
        "attempts": 0,
        "queued_at": now,
        "priority": event.priority,
        "next_attempt_at": None if target.suppressed_reason else now,
        "created_at": now,
        "updated_at": now,
        "dedup_hash": target.dedup_hash,
    }
