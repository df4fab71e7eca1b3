"""The tables of message threads and of people."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index, Integer, String
from sqlmodel import Field, SQLModel

from alertctl.models.columns import ID_LENGTH, time_column


class Thread(SQLModel, table=True):
    """The open thread about one subject at one address. Its id is that of the delivery whose message is the root.

    Until the root is sent it belongs to the process that sends it, up to `claimed_until` (then NULL).
    `provider_channel` and `root_ts` identify the root's message at the provider. `occurred_at` is the time of its
    newest event; events after `ends_at` begin a new thread. `edit_due_at`: the root's text is out of date and may be
    edited from then on. No edit begins before `next_edit_at`, which was written at `next_edit_set_at`. `edit_failures`
    counts the failed edits in a row.
    """

    __tablename__ = "thread"
    channel: str = Field(sa_column=Column(String(16), primary_key=True))
    address_key: str = Field(sa_column=Column(String(254), primary_key=True))
    subject_key: str = Field(sa_column=Column(String(64), primary_key=True))
    id: str = Field(sa_column=Column(String(ID_LENGTH), nullable=False))
    claimed_at: datetime = Field(sa_column=time_column(nullable=False))
    claimed_until: datetime | None = Field(default=None, sa_column=time_column())
    provider_channel: str | None = Field(default=None, sa_column=Column(String(80)))
    root_ts: str | None = Field(default=None, sa_column=Column(String(255)))
    occurred_at: datetime = Field(sa_column=time_column(nullable=False))
    ends_at: datetime = Field(sa_column=time_column(nullable=False))
    edit_due_at: datetime | None = Field(default=None, sa_column=time_column())
    next_edit_at: datetime | None = Field(default=None, sa_column=time_column())
    next_edit_set_at: datetime | None = Field(default=None, sa_column=time_column())
    edit_failures: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))

    __table_args__ = (Index("ix_thread_id", "id"), Index("ix_thread_edit", "channel", "edit_due_at"))


class Person(SQLModel, table=True):
    """A person's id at a channel's provider, by email. `provider_id` is NULL if the provider knows nobody of it."""

    __tablename__ = "person"
    channel: str = Field(sa_column=Column(String(16), primary_key=True))
    email_key: str = Field(sa_column=Column(String(254), primary_key=True))
    provider_id: str | None = Field(default=None, sa_column=Column(String(80)))
    looked_up_at: datetime = Field(sa_column=time_column(nullable=False))
