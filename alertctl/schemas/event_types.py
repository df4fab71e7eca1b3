"""The event types of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alertctl.events import EventFields


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
