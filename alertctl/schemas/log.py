"""The delivery log: its filter and pages, counts, and the results of changes to it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from alertctl.schemas.deliveries import DeliveryItem


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which deliveries; all conditions must hold.

    `to` is compared as addresses are, times are aware, `user` is an id or an email (the one whose preference chose the
    target), `flag`, `experiment` and `labels` are the event's. `grep` is a text that the event, the address, the error
    or an attempt's answer holds, without case. `retrying`: failed and will be tried again; `final`: nothing more will
    happen.
    """

    status: str | None = None
    event_type: str | None = None
    channel: str | None = None
    to: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    event_id: str | None = None
    user: str | None = None
    flag: str | None = None
    experiment: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    grep: str | None = None
    retrying: bool = False
    final: bool = False

    def conditions(self) -> dict[str, Any]:
        """Return the conditions that are set, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False, {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the delivery log, newest first. `next_cursor` is None on the last one.

    `total` is None if it wasn't counted: with `grep` in a long log, or with `count` off.
    """

    items: list[DeliveryItem]
    total: int | None
    page: int
    limit: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many deliveries share a key (an event type, a channel, an address, an error), by status.

    `waiting` are pending or being sent, `retrying` failed and will be tried again, `failed` is final.
    """

    key: str
    total: int
    success: int
    failed: int
    retrying: int
    waiting: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of the log: one for each key, the largest first, and their total."""

    by: str
    items: list[Count]
    total: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """The attempts of a dispatch, by result."""

    attempted: int
    success: int
    retrying: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendResult:
    """The outcome of a resend for a delivery; `problem` is None when it is due again."""

    id: str
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many deliveries a prune deleted from the log, or would delete with `dry_run`."""

    deliveries: int
    dry_run: bool = False
