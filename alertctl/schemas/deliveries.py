"""A delivery as the log shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from alertctl.serialization import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryItem:
    """One row of the delivery log. `latency_ms`: from the event's record to its success, in milliseconds.

    `thread_id` is the id of the delivery whose message is the root of its thread; None for a message without replies.
    `labels` are the event's.
    """

    id: str
    event_type: str
    channel: str
    to: str
    status: str
    error: str | None
    attempts: int
    next_attempt_at: Moment | None
    created_at: Moment
    event_id: str
    reason: str | None = None
    ambiguous: bool = False
    provider_id: str | None = None
    updated_at: Moment | None = None
    latency_ms: int | None = None
    thread_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
