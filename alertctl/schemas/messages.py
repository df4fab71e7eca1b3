"""A rendered message, and the result of a test message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
class Previews:
    """A rendered message for each target of an event, and the warnings that publishing it would return.

    `suppressed_reason` of an item is set if it would be suppressed.
    """

    items: list[Rendered]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectivityTestResult:
    """The result of a test message; `message` is a sentence with the provider's own reason."""

    success: bool
    message: str
    delivery_id: str
    error: str | None = None
    answer: str | None = None
