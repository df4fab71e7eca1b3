"""Write new deliveries into the outbox."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
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


def new_delivery(event_id: str, event_type: str, priority: int, target: Target, now: datetime) -> dict[str, Any]:
    """Return the row of a delivery of this event to this target, due at once or suppressed."""
    return {
        "id": new_id(now),
        "event_id": event_id,
        "event_type": event_type,
        "channel": target.channel,
        "address": target.address,
        "address_key": target.key,
        "routing_reason": target.routing_reason,
        "route": target.route,
        "options": target.options.to_json(),
        "user_id": target.user_id,
        "status": Status.SUPPRESSED.value if target.suppressed_reason else Status.PENDING.value,
        "error": target.suppressed_reason,
        "attempts": 0,
        "queued_at": now,
        "priority": priority,
        "next_attempt_at": None if target.suppressed_reason else now,
        "created_at": now,
        "updated_at": now,
        "dedup_hash": target.dedup_hash,
    }


def enqueue(
    connection: Connection,
    deliveries: Iterable[Mapping[str, Any]],
    labels: Mapping[str, dict[str, str]] | None = None,
) -> dict[str, list[DeliveryItem]]:
    """Insert these rows of `new_delivery`. Return them as the log shows them, by event. `labels` are those by event."""
    rows, labels = iter(deliveries), labels or {}
    items: dict[str, list[DeliveryItem]] = defaultdict(list)
    begin_change(connection)
    while batch := list(islice(rows, SWEEP)):
        statement = _insert_deliveries(connection.dialect.name, tuple(batch[0]))
        connection.execute(statement, bulk_parameter(connection, batch))
        for row in batch:
            # As the log shows it, without reading back what was just written.
            fields = {name: row[name] for name in _ITEM_COLUMNS}
            item = DeliveryItem(to=row["address"], labels=labels.get(row["event_id"], {}), **fields)
            items[item.event_id].append(item)
    if items:
        announce(connection)
    return items


_ITEM_COLUMNS = (
    *("id", "event_id", "event_type", "channel", "status", "error", "attempts"),
    *("next_attempt_at", "created_at", "updated_at"),
)


@cache
def _insert_deliveries(dialect: str, columns: tuple[str, ...]) -> Insert:
    new = bulk_rows(dialect, (delivery.c[name] for name in columns))
    return insert(delivery).from_select([*columns, "change"], select(*new.c, this_change()), include_defaults=False)
