"""Events: what callers pass to publish them, and what they get back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from alertctl.schemas.deliveries import DeliveryItem
from alertctl.serialization import Moment

if TYPE_CHECKING:
    from alertctl.events import EventFields


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
    """The recorded event and its deliveries. `created` is False when its key was used before."""

    event_id: str
    event_type: str
    created: bool
    deliveries: list[DeliveryItem]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """An event's deliveries; `final` when all of them are in a final state."""

    event_id: str
    event_type: str
    final: bool
    deliveries: list[DeliveryItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A rendered message and its target. `message` is Slack's payload, or an email's `headers`, `text` and `html`.

    `route` names the route that chose or suppressed the target.
    """

    channel: str
    to: str
    routing_reason: str
    suppressed_reason: str | None
    message: dict[str, Any]
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeInfo:
    """One event type of the registry, with the JSON Schema of its fields and an example of them."""

    event_type: str
    description: str
    channels: list[str]
    default_on: bool | None
    json_schema: dict[str, Any]
    example: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: type[EventFields], all_channels: Sequence[str]) -> EventTypeInfo:
        """Return the description of an event type, which goes to `all_channels` unless it names some."""
        return cls(
            event_type=kind.event_type,
            description=kind.description,
            channels=list(kind.channels or all_channels),
            default_on=kind.default_on,
            json_schema=kind.model_json_schema(),
            example=dict(kind.example),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectivityTestResult:
    """The result of a test message; `message` is a sentence with the provider's own reason."""

    success: bool
    message: str
    delivery_id: str
    error: str | None = None
    answer: str | None = None
