"""The tables. Deliveries, attempts and pauses are written by `outbox` only.

The migrations define the partial indexes: naming a database's dialect here would import it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    column,
    false,
    func,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

ID_LENGTH = 36


class Status(StrEnum):
    """The status of a delivery: pending -> sending -> success | failed, or suppressed from the start."""

    PENDING = "pending"
    SENDING = "sending"
    SUCCESS = "success"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


class Priority:
    """The order in which due deliveries are claimed. A retry keeps its class and comes after its fresh deliveries."""

    CRITICAL = 0
    CRITICAL_RETRY = 1
    NORMAL = 2
    NORMAL_RETRY = 3
    ALL = (CRITICAL, CRITICAL_RETRY, NORMAL, NORMAL_RETRY)
    RETRY = 1
    """The bit that marks a retry."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite stores it as sortable text, Postgres as timestamptz."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _key(**more: Any) -> Any:
    return Column(String(ID_LENGTH), primary_key=True, **more)


def _link(target: str, **more: Any) -> Any:
    return Column(String(ID_LENGTH), ForeignKey(target, ondelete="CASCADE"), **more)


def _when(**more: Any) -> Any:
    return Column(UtcDateTime, **more)


class User(SQLModel, table=True):
    """A user of the API and a recipient of alerts.

    `issuer` and `subject` identify a JWT user: `iss` and the user's claim. A subject that was recorded by an older
    version has no issuer until the next login. `linked`: JWT_LINK_BY_EMAIL gave an existing
    account this identity, so the stored role counts for the account's own tokens, not for a JWT.
    """

    __tablename__ = "users"
    id: str = Field(sa_column=_key())
    email: str | None = Field(default=None, sa_column=Column(String(254), unique=True))
    issuer: str | None = Field(default=None, sa_column=Column(String(255)))
    subject: str | None = Field(default=None, sa_column=Column(String(255)))
    linked: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    role: str = Field(default="viewer", sa_column=Column(String(16), nullable=False))
    disabled: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    created_at: datetime = Field(sa_column=_when(nullable=False))

    __table_args__ = (UniqueConstraint("issuer", "subject", name="uq_users_identity"),)


class Token(SQLModel, table=True):
    """An access token issued by alertctl. Only its SHA-256 is stored (`token_hash`)."""

    __tablename__ = "token"
    id: str = Field(sa_column=_key())
    user_id: str = Field(sa_column=_link("users.id", nullable=False, index=True))
    role: str = Field(sa_column=Column(String(16), nullable=False))
    token_hash: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    hint: str = Field(sa_column=Column(String(8), nullable=False))
    created_at: datetime = Field(sa_column=_when(nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=_when())
    last_used_at: datetime | None = Field(default=None, sa_column=_when())
    revoked_at: datetime | None = Field(default=None, sa_column=_when())


class Preference(SQLModel, table=True):
    """A user's channels and addresses. A user without a row has the defaults."""

    __tablename__ = "preference"
    user_id: str = Field(sa_column=_link("users.id", primary_key=True))
    slack_enabled: bool = Field(default=True, sa_column=Column(Boolean, nullable=False))
    email_enabled: bool = Field(default=True, sa_column=Column(Boolean, nullable=False))
    slack_channel: str | None = Field(default=None, sa_column=Column(String(254)))
    email_address: str | None = Field(default=None, sa_column=Column(String(254)))
    updated_at: datetime = Field(sa_column=_when(nullable=False))


class EventPreference(SQLModel, table=True):
    """A user's choice for one event type where it differs from the registry's default."""

    __tablename__ = "event_preference"
    user_id: str = Field(sa_column=_link("users.id", primary_key=True))
    event_type: str = Field(sa_column=Column(String(64), primary_key=True))
    enabled: bool = Field(sa_column=Column(Boolean, nullable=False))


class Event(SQLModel, table=True):
    """Something that happened. `fields` is the JSON of its typed fields, `labels` that of its labels (NULL: none).

    `subject_key` is equal for events about the same flag or experiment in the same environment; NULL without a subject.
    `ends_subject`: nothing more is expected about it.
    `originally_published_at` is when it was first published, if that was before `created_at`: it waited in a spool.
    """

    __tablename__ = "event"
    id: str = Field(sa_column=_key())
    event_type: str = Field(sa_column=Column(String(64), nullable=False))
    severity: str = Field(sa_column=Column(String(16), nullable=False))
    fields: str = Field(sa_column=Column(Text, nullable=False))
    labels: str | None = Field(default=None, sa_column=Column(Text))
    feature_flag: str | None = Field(default=None, sa_column=Column(String(255)))
    experiment: str | None = Field(default=None, sa_column=Column(String(255)))
    subject_key: str | None = Field(default=None, sa_column=Column(String(64)))
    ends_subject: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    is_test: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    published_by: str | None = Field(default=None, sa_column=Column(String(254)))
    occurred_at: datetime = Field(sa_column=_when(nullable=False))
    created_at: datetime = Field(sa_column=_when(nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=_when())
    originally_published_at: datetime | None = Field(default=None, sa_column=_when())

    __table_args__ = (
        Index("ix_event_feature_flag", "feature_flag", "id"),
        Index("ix_event_experiment", "experiment", "id"),
    )


class EventLabel(SQLModel, table=True):
    """A label of an event, for filters. `Event.labels` has all of them."""

    __tablename__ = "event_label"
    event_id: str = Field(sa_column=_link("event.id", primary_key=True))
    name: str = Field(sa_column=Column(String(63), primary_key=True))
    value: str = Field(sa_column=Column(String(255), nullable=False))

    __table_args__ = (Index("ix_event_label", "name", "value", "event_id"),)


class EventKey(SQLModel, table=True):
    """A key that makes publishing idempotent: the caller's key, its event, and a hash of the body.

    A dedup key with a window has a row under a separate scope, by which its publishers take turns.
    """

    __tablename__ = "event_key"
    scope: str = Field(sa_column=Column(String(300), primary_key=True))
    key: str = Field(sa_column=Column(String(255), primary_key=True))
    event_id: str = Field(sa_column=_link("event.id", nullable=False, index=True))
    body_hash: str = Field(sa_column=Column(String(64), nullable=False))
    created_at: datetime = Field(sa_column=_when(nullable=False))


class Delivery(SQLModel, table=True):
    """One event for one target: a row of the delivery log. `next_attempt_at` is the queue; NULL means final.

    `address_key` is the address in its form for comparisons (`addresses.py`). `attempts` counts every claim and is the
    fencing token. `attempts_before_resend` is its value at the last resend; `schedule_step` of the attempts since then
    used up a step of RETRY_SCHEDULE. `error` is the provider's code, or the cause of a suppressed delivery.
    `routing_reason` says why this target was chosen, `route` names the route that chose it. `options` is the JSON of
    its `MessageOptions` (NULL: the defaults). `thread_id` is the id of the delivery whose message is the root of its
    thread, NULL without replies.
    `change` numbers the transactions that gave deliveries a new state, except `sending`, in an order in which a
    follower of the log misses none. `dedup_hash` is equal for duplicates (`outbox.duplicates`), None without a dedup
    key.
    """

    __tablename__ = "delivery"
    id: str = Field(sa_column=_key())
    event_id: str = Field(sa_column=_link("event.id", nullable=False))
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
    queued_at: datetime = Field(sa_column=_when(nullable=False))
    priority: int = Field(sa_column=Column(Integer, nullable=False))
    next_attempt_at: datetime | None = Field(default=None, sa_column=_when())
    requested_by: str | None = Field(default=None, sa_column=Column(String(254)))
    provider_id: str | None = Field(default=None, sa_column=Column(String(255)))
    created_at: datetime = Field(sa_column=_when(nullable=False))
    updated_at: datetime = Field(sa_column=_when(nullable=False))
    change: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    dedup_hash: str | None = Field(default=None, sa_column=Column(String(64)))
    thread_id: str | None = Field(default=None, sa_column=Column(String(ID_LENGTH)))

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
    delivery_id: str = Field(sa_column=_link("delivery.id", primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    provider: str = Field(sa_column=Column(String(16), nullable=False))
    started_at: datetime = Field(sa_column=_when(nullable=False))
    duration_ms: int | None = Field(default=None)
    outcome: str | None = Field(default=None, sa_column=Column(String(16)))
    reason: str | None = Field(default=None, sa_column=Column(String(16)))
    code: str | None = Field(default=None, sa_column=Column(String(100)))
    answer: str | None = Field(default=None, sa_column=Column(Text))
    requested_by: str | None = Field(default=None, sa_column=Column(String(254)))
    note: str | None = Field(default=None, sa_column=Column(Text))


class Thread(SQLModel, table=True):
    """The open thread about one subject at one address. Its id is that of the delivery whose message is the root.

    Until the root is sent it belongs to the process that sends it, up to `claimed_until` (then NULL).
    `provider_channel` and `root_ts` identify the root's message at the provider. `occurred_at` is the time of its
    newest event; events after `ends_at` begin a new thread. `edit_due_at`: the root's text is out of date and may be
    edited from then on. No edit begins before `next_edit_at`. `edit_failures` counts the failed edits in a row.
    """

    __tablename__ = "thread"
    channel: str = Field(sa_column=Column(String(16), primary_key=True))
    address_key: str = Field(sa_column=Column(String(254), primary_key=True))
    subject_key: str = Field(sa_column=Column(String(64), primary_key=True))
    id: str = Field(sa_column=Column(String(ID_LENGTH), nullable=False))
    claimed_at: datetime = Field(sa_column=_when(nullable=False))
    claimed_until: datetime | None = Field(default=None, sa_column=_when())
    provider_channel: str | None = Field(default=None, sa_column=Column(String(80)))
    root_ts: str | None = Field(default=None, sa_column=Column(String(255)))
    occurred_at: datetime = Field(sa_column=_when(nullable=False))
    ends_at: datetime = Field(sa_column=_when(nullable=False))
    edit_due_at: datetime | None = Field(default=None, sa_column=_when())
    next_edit_at: datetime | None = Field(default=None, sa_column=_when())
    edit_failures: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))

    __table_args__ = (Index("ix_thread_id", "id"), Index("ix_thread_edit", "channel", "edit_due_at"))


class Person(SQLModel, table=True):
    """A person's id at a channel's provider, by email. `provider_id` is NULL if the provider knows nobody of it."""

    __tablename__ = "person"
    channel: str = Field(sa_column=Column(String(16), primary_key=True))
    email_key: str = Field(sa_column=Column(String(254), primary_key=True))
    provider_id: str | None = Field(default=None, sa_column=Column(String(80)))
    looked_up_at: datetime = Field(sa_column=_when(nullable=False))


class Instance(SQLModel, table=True):
    """A running daemon and the hash of its routes. It is valid while `reported_at` is recent."""

    __tablename__ = "instance"
    id: str = Field(sa_column=_key())
    host: str = Field(sa_column=Column(String(255), nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    routes_hash: str = Field(sa_column=Column(String(64), nullable=False))
    reported_at: datetime = Field(sa_column=_when(nullable=False))


class Pause(SQLModel, table=True):
    """A provider (empty `address_key`) or one of its addresses that is not called before `until`, and why."""

    __tablename__ = "pause"
    provider: str = Field(sa_column=Column(String(16), primary_key=True))
    address_key: str = Field(default="", sa_column=Column(String(254), primary_key=True))
    until: datetime = Field(sa_column=_when(nullable=False))
    reason: str = Field(sa_column=Column(String(16), nullable=False))
    code: str = Field(sa_column=Column(String(100), nullable=False))
    since: datetime = Field(sa_column=_when(nullable=False))


class BreakerReport(SQLModel, table=True):
    """A running daemon's open circuit breaker, for people to read. No process acts on another's report.

    It is valid while `reported_at` is recent: the daemon renews it, and removes it when its breaker closes.
    """

    __tablename__ = "breaker_report"
    instance_id: str = Field(sa_column=_key())
    provider: str = Field(sa_column=Column(String(16), primary_key=True))
    host: str = Field(sa_column=Column(String(255), nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    code: str = Field(sa_column=Column(String(100), nullable=False))
    since: datetime = Field(sa_column=_when(nullable=False))
    next_probe_at: datetime = Field(sa_column=_when(nullable=False))
    reported_at: datetime = Field(sa_column=_when(nullable=False))


class ProbeRequest(SQLModel, table=True):
    """How often all instances were asked to probe a provider at once. An open breaker that sees a new number probes."""

    __tablename__ = "probe_request"
    provider: str = Field(sa_column=Column(String(16), primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))


class Run(SQLModel, table=True):
    """A job's run for one period. The unique row keeps two daemons from running it twice."""

    __tablename__ = "run"
    job: str = Field(sa_column=Column(String(32), primary_key=True))
    period: str = Field(sa_column=Column(String(32), primary_key=True))
    started_at: datetime = Field(sa_column=_when(nullable=False))
