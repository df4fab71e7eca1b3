"""The tables. Deliveries, attempts and pauses are written by `outbox` only.

The migrations define the partial indexes: naming a database's dialect here would import it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Column, Table
from sqlmodel import SQLModel

from alertctl.models.columns import ID_LENGTH, Priority, Status, UtcDateTime
from alertctl.models.daemons import BreakerReport, InstanceReport, Pause, ProbeRequest, Run
from alertctl.models.deliveries import Attempt, ChangeCounter, Delivery, DeliveryCount
from alertctl.models.events import Event, EventKey, EventLabel
from alertctl.models.threads import Person, Thread
from alertctl.models.users import EventPreference, Preference, Token, User

__all__ = [
    "ID_LENGTH",
    "Attempt",
    "BreakerReport",
    "ChangeCounter",
    "Delivery",
    "DeliveryCount",
    "Event",
    "EventKey",
    "EventLabel",
    "EventPreference",
    "InstanceReport",
    "Pause",
    "Person",
    "Preference",
    "Priority",
    "ProbeRequest",
    "Run",
    "Status",
    "Thread",
    "Token",
    "User",
    "UtcDateTime",
    "table_of",
]


def table_of(model: type[SQLModel]) -> Table:
    """Return the table of a model, for statements."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


def columns_for(schema: type[Any], table: Table) -> list[Column[Any]]:
    """Return the columns that have the name of a field of this dataclass."""
    return [table.c[field.name] for field in fields(schema) if field.name in table.c]
