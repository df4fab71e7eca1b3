"""What every channel promises to the dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from alertctl.content import Content
from alertctl.errors import DeliveryError


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery as a channel sees it. `plain` asks for plain text after a first one was rejected."""

    delivery_id: str
    address: str
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider took the message. `provider_id` is Slack's ts, SendGrid's X-Message-Id or our Message-ID.

    `answer` is what the provider said in its own words, redacted and cut to 2 kB.
    """

    provider_id: str
    answer: str = ""


Verdict = Receipt | DeliveryError


class Channel(Protocol):
    """Sends one event's content to one or more addresses. Safe to call from many threads at once."""

    name: str
    """`slack` or `email`."""
    provider: str
    """`slack`, `sendgrid` or `smtp`."""
    batch_size: int
    """How many parcels of one event `send` takes at once (1 for all but SendGrid)."""
    deadline: float
    """Seconds that one call of `send` may last in all."""

    def send(self, content: Content, parcels: Sequence[Parcel]) -> list[Verdict]:
        """One verdict for each parcel, in order. Raises nothing that a provider or a network can cause."""

    def render(self, content: Content, parcel: Parcel) -> dict[str, Any]:
        """What `send` would hand to the provider, as JSON-able data: Slack's payload, or a mail's headers and parts."""

    def close(self) -> None:
        """Let go of kept connections."""
