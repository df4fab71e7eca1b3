"""One delivery with its event and attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alertctl.schemas.deliveries import DeliveryItem
from alertctl.serialization import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptItem:
    """An attempt. Without `outcome` it is in progress, or its process ended. `duration_ms` in milliseconds.

    `note` tells what the message lacks: a mention that could not be looked up, a template that failed.
    """

    number: int
    provider: str
    started_at: Moment
    duration_ms: int | None
    outcome: str | None
    reason: str | None
    code: str | None
    answer: str | None
    requested_by: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSummary:
    """The event of a delivery. `title` and `summary` are in the words that `[messages]` sets now."""

    id: str
    event_type: str
    severity: str
    title: str
    summary: str
    fields: dict[str, Any]
    occurred_at: Moment
    created_at: Moment
    published_by: str | None
    is_test: bool
    expires_at: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail(DeliveryItem):
    """A delivery with its event and attempts.

    `user`: whose preference chose the target. `route`: the name of the route that did. `options` of the message are
    those that differ from the defaults.
    `replies` are the newest messages in the thread, if this one is its root, and `edited_at` is its last edit.
    """

    routing_reason: str
    user: str | None
    route: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    event: EventSummary
    attempt_log: list[AttemptItem]
    others: list[DeliveryItem] = field(default_factory=list)
    replies: list[DeliveryItem] = field(default_factory=list)
    edited_at: Moment | None = None
