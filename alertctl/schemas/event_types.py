"""The event types of the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeInfo:
    """One event type of the registry, with the JSON Schema of its fields and an example of them."""

    event_type: str
    description: str
    channels: list[str]
    default_on: bool | None
    json_schema: dict[str, Any]
    example: dict[str, Any] = field(default_factory=dict)
