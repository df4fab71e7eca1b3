"""The tables that the log reads, and a row as a `DeliveryItem`."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from alertctl import models
from alertctl.models import Status, columns_for, table_of
from alertctl.schemas import DeliveryItem

delivery = table_of(models.Delivery)
attempt = table_of(models.Attempt)
event = table_of(models.Event)
event_label = table_of(models.EventLabel)
users = table_of(models.User)
pauses = table_of(models.Pause)
delivery_count = table_of(models.DeliveryCount)
change_counter = table_of(models.ChangeCounter)

_labels = select(event.c.labels).where(event.c.id == delivery.c.event_id).correlate(delivery)
ITEM = (*columns_for(DeliveryItem, delivery), delivery.c.address.label("to"), _labels.scalar_subquery().label("labels"))
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
