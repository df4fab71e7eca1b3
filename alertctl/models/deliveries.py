"""The tables of the delivery log."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Text, UniqueConstraint, column, false, func
from sqlmodel import Field, SQLModel

from alertctl.models.columns import ID_LENGTH, id_column, reference_column, time_column


class Delivery(SQLModel, table=True):
    """One event for one target: a row of the delivery log. `next_attempt_at` is the queue; NULL means final.

    `address_key` is the address in its form for comparisons (`addresses.py`). `attempts` counts every claim and is the
    fencing token. `attempts_before_resend` is its value at the last resend; `schedule_step` of the attempts since then
    used up a step of RETRY_SCHEDULE. `error` is the provider's code, or the cause of a suppressed delivery.
    `routing_reason` says why this target was chosen, `route` names the route that chose it. `options` is the JSON of
    its `MessageOptions` (NULL: the defaults). `thread_id` is the id of the delivery whose message is the root of its
    thread, NULL without replies. `edited_at` is the time of the last edit of a root.
    `change` numbers the transactions that gave deliveries a new state, except `sending`, in an order in which a
    follower of the log misses none. `dedup_hash` is equal for duplicates (`outbox.duplicates`), None without a dedup
    key.
    """

    __tablename__ = "delivery"
    id: str = Field(sa_column=id_column())
    event_id: str = Field(sa_column=reference_column("event.id", nullable=False))
    event_type: str = Field(sa_column=Column(String(64), nullable=False))
    channel: str = Field(sa_column=Column(String(16), nullable=False))
    address: str = Field(sa_column=Column(String(254), nullable=False))
    address_key: str = Field(sa_column=Column(String(254), nullable=False))
    routing_reason: str = Field(sa_column=Column(String(32), nullable=False))
    route: str | None = Field(default=None, sa_column=Column(String(60)))
    options: str | None = Field(default=None, sa_column=Column(Text))
    user_id: str | None = Field(default=None, sa_column=Column(String(ID_LENGTH)))
    status: str = Field(sa_column=Column(String(16), nullable=False))
    error: str | None = Field(default=None, sa_column=Column(String(100)))
    reason: str | None = Field(default=None, sa_column=Column(String(16)))
    ambiguous: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    attempts: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    attempts_before_resend: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    schedule_step: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    queued_at: datetime = Field(sa_column=time_column(nullable=False))
    priority: int = Field(sa_column=Column(Integer, nullable=False))
    next_attempt_at: datetime | None = Field(default=None, sa_column=time_column())
    requested_by: str | None = Field(default=None, sa_column=Column(String(254)))
    provider_id: str | None = Field(default=None, sa_column=Column(String(255)))
    created_at: datetime = Field(sa_column=time_column(nullable=False))
    updated_at: datetime = Field(sa_column=time_column(nullable=False))
    change: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    dedup_hash: str | None = Field(default=None, sa_column=Column(String(64)))
    thread_id: str | None = Field(default=None, sa_column=Column(String(ID_LENGTH)))
    edited_at: datetime | None = Field(default=None, sa_column=time_column())

    __table_args__ = (
        UniqueConstraint("event_id", "channel", "address_key", name="uq_delivery_target"),
        Index("ix_delivery_due", "channel", "priority", "next_attempt_at"),
        Index("ix_delivery_retrying", "status", "next_attempt_at"),
        Index("ix_delivery_status", "status", "id"),
        Index("ix_delivery_event_type", "event_type", "id"),
        Index("ix_delivery_status_event_type", "status", "event_type", "id"),
        Index("ix_delivery_channel", "channel", "id"),
        Index("ix_delivery_channel_status", "channel", "status", "id"),
        Index("ix_delivery_channel_event_type", "channel", "event_type", "id"),
        Index("ix_delivery_address", "address_key", "id"),
        Index("ix_delivery_address_status", "address_key", "status", "id"),
        Index("ix_delivery_address_event_type", "address_key", "event_type", "id"),
        Index("ix_delivery_address_error", "address_key", "error", "id"),
        Index("ix_delivery_error", "error", "id"),
        Index("ix_delivery_user", "user_id", "id"),
        Index("ix_delivery_tail", func.substr(column("id"), 29)),
        Index("ix_delivery_change", "change", "id"),
        Index("ix_delivery_dedup", "dedup_hash", "updated_at"),
        Index("ix_delivery_thread", "thread_id"),
    )


class DeliveryCount(SQLModel, table=True):
    """The number of deliveries of each kind is the sum of `number`.

    Triggers (migration 0006) keep it in the transaction that writes the deliveries.
    """

    __tablename__ = "delivery_count"
    id: int = Field(sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    event_type: str = Field(sa_column=Column(String(64), nullable=False))
    channel: str = Field(sa_column=Column(String(16), nullable=False))
    status: str = Field(sa_column=Column(String(16), nullable=False))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))


class ChangeCounter(SQLModel, table=True):
    """One row: on SQLite the number of the last transaction that changed deliveries.

    Postgres numbers its transactions itself; there it is added to those numbers
    (`outbox.resume_sequence_after_restore`).
    """

    __tablename__ = "change_counter"
    id: int = Field(sa_column=Column(Integer, primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))


class Attempt(SQLModel, table=True):
    """One try at a delivery, written before the send. Without `outcome` it is in progress, or its process ended."""

    __tablename__ = "attempt"
    delivery_id: str = Field(sa_column=reference_column("delivery.id", primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    provider: str = Field(sa_column=Column(String(16), nullable=False))
    started_at: datetime = Field(sa_column=time_column(nullable=False))
    duration_ms: int | None = Field(default=None)
    outcome: str | None = Field(default=None, sa_column=Column(String(16)))
    reason: str | None = Field(default=None, sa_column=Column(String(16)))
    code: str | None = Field(default=None, sa_column=Column(String(100)))
    answer: str | None = Field(default=None, sa_column=Column(Text))
    requested_by: str | None = Field(default=None, sa_column=Column(String(254)))
    note: str | None = Field(default=None, sa_column=Column(Text))
