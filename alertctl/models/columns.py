"""Columns that the tables share, and the values of two of them."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, DateTime, ForeignKey, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

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


def id_column(**more: Any) -> Any:
    """Return the primary key: a UUID."""
    return Column(String(ID_LENGTH), primary_key=True, **more)


def reference_column(target: str, **more: Any) -> Any:
    """Return a column with the id of a row that takes this row along when it is deleted."""
    return Column(String(ID_LENGTH), ForeignKey(target, ondelete="CASCADE"), **more)


def time_column(**more: Any) -> Any:
    return Column(UtcDateTime, **more)
