"""The tables that the log reads, and a row as a `DeliveryItem`."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select
from sqlmodel import SQLModel

from alertctl.models import Attempt, ChangeCounter, Delivery, DeliveryCount, Event, EventLabel, Pause, Status, User
from alertctl.schemas import DeliveryItem

TABLES = SQLModel.metadata.tables
delivery = TABLES[str(Delivery.__tablename__)]
attempt = TABLES[str(Attempt.__tablename__)]
event = TABLES[str(Event.__tablename__)]
event_label = TABLES[str(EventLabel.__tablename__)]
users = TABLES[str(User.__tablename__)]
pauses = TABLES[str(Pause.__tablename__)]
delivery_count = TABLES[str(DeliveryCount.__tablename__)]
change_counter = TABLES[str(ChangeCounter.__tablename__)]

ITEM = (
    delivery.c.id,
    delivery.c.event_type,
    delivery.c.channel,
    delivery.c.address.label("to"),
    delivery.c.status,
    delivery.c.error,
    delivery.c.attempts,
    delivery.c.next_attempt_at,
    delivery.c.created_at,
    delivery.c.event_id,
    delivery.c.reason,
    delivery.c.ambiguous,
    delivery.c.provider_id,
    delivery.c.updated_at,
    delivery.c.thread_id,
    select(event.c.labels)
    .where(event.c.id == delivery.c.event_id)
    .correlate(delivery)
    .scalar_subquery()
    .label("labels"),
)
"""The columns of a DeliveryItem."""


def build_item(row: Any) -> DeliveryItem:
    """Return a row of the columns ITEM as a DeliveryItem."""
    return DeliveryItem(**item_fields(row))


def item_fields(row: Any) -> dict[str, Any]:
    """Return the row's columns by name, with its labels, and the latency of a delivery that arrived."""
    fields = dict(row._mapping)
    fields["labels"] = json.loads(row.labels) if row.labels else {}
    if row.status == Status.SUCCESS:
        fields["latency_ms"] = round((row.updated_at - row.created_at).total_seconds() * 1000)
    return fields
