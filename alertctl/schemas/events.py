"""Events: what callers pass to publish them, and what they get back."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from alertctl.schemas.deliveries import DeliveryItem
from alertctl.serialization import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """An event as a caller passes it to `publish.prepare`.

    `dedup_window` in seconds: a target that was sent the same `dedup_key`, type and subject within it is suppressed.
    `expires_at`: not sent from then on. `originally_published_at`: the time of the first try, if that was earlier
    (spool).
    """

    event_type: str
    fields: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    to: list[str] = field(default_factory=list)
    channel: str | None = None
    idempotency_key: str | None = None
    dedup_window: float | None = None
    expires_at: Moment | None = None
    originally_published_at: Moment | None = None


BODY_OPTIONS = tuple(item.name for item in fields(PublishRequest) if item.name not in ("fields", "idempotency_key"))
"""What the body of POST /events holds of a request, beside the event's own fields."""


def with_current_names(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body or spooled request of a version before 0.2 with today's names."""
    return {"originally_published_at" if name == "said_at" else name: value for name, value in body.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReceipt:
    """The recorded event and its deliveries. `created` is False when its key was used before.

    `is_current` is False when the caller may not read the state, so that the deliveries are as they were recorded.
    """

    event_id: str
    event_type: str
    created: bool
    deliveries: list[DeliveryItem]
    warnings: list[str] = field(default_factory=list)
    is_current: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """An event's deliveries; `final` when all of them are in a final state."""

    event_id: str
    event_type: str
    final: bool
    deliveries: list[DeliveryItem]
