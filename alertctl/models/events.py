"""The tables of events."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, Column, Index, String, Text, false
from sqlmodel import Field, SQLModel

from alertctl.models.columns import id_column, reference_column, time_column


class Event(SQLModel, table=True):
    """Something that happened. `fields` is the JSON of its typed fields, `labels` that of its labels (NULL: none).

    `subject_key` is equal for events about the same flag or experiment in the same environment; NULL without a subject.
    `ends_subject`: nothing more is expected about it.
    `originally_published_at` is when it was first published, if that was before `created_at`: it waited in a spool.
    """

    __tablename__ = "event"
    id: str = Field(sa_column=id_column())
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
    occurred_at: datetime = Field(sa_column=time_column(nullable=False))
    created_at: datetime = Field(sa_column=time_column(nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=time_column())
    originally_published_at: datetime | None = Field(default=None, sa_column=time_column())

    __table_args__ = (
        Index("ix_event_feature_flag", "feature_flag", "id"),
        Index("ix_event_experiment", "experiment", "id"),
    )


class EventLabel(SQLModel, table=True):
    """A label of an event, for filters. `Event.labels` has all of them."""

    __tablename__ = "event_label"
    event_id: str = Field(sa_column=reference_column("event.id", primary_key=True))
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
    event_id: str = Field(sa_column=reference_column("event.id", nullable=False, index=True))
    body_hash: str = Field(sa_column=Column(String(64), nullable=False))
    created_at: datetime = Field(sa_column=time_column(nullable=False))
