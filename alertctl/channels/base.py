"""What every channel promises to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from alertctl.errors import DeliveryError

if TYPE_CHECKING:
    from alertctl.config import Settings
    from alertctl.content import Content
    from alertctl.http.client import HttpClient


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
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


SendResult = Receipt | DeliveryError


class Channel(Protocol):
    """Sends one event's content to one or more addresses. Safe to call from many threads at once."""

    name: str
    """The name of its `ChannelType`."""
    provider: str
    """`slack`, `sendgrid` or `smtp`."""
    batch_size: int
    """How many parcels of one event `send` takes at once (1 for all but SendGrid)."""
    deadline: float
    """Seconds that one call of `send` may last in all."""

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        """One verdict for each parcel, in order. Raises nothing that a provider or a network can cause."""

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """What `send` would hand to the provider, as JSON-able data: Slack's payload, or a mail's headers and parts."""

    def close(self) -> None:
        """Let go of kept connections."""


class RateLimit(NamedTuple):
    """Messages to one address: `per_second` (0 = unlimited), after `burst` at once."""

    per_second: float = 0.0
    burst: int = 1


class RoutingRule(NamedTuple):
    """Why a target was chosen. `reason` may contain {user} and {event_type}."""

    name: str
    summary: str
    reason: str


DEFAULT_RULE = RoutingRule("default_address", "a default address gets every event", "this address gets every event")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelType:
    """A channel that alertctl knows; `CHANNEL_TYPES` lists them all.

    Its name is that of its section in the settings, which has the field `enabled`.
    """

    name: str
    build: Callable[[Settings], Channel]
    """Load the channel's libraries and return the channel."""
    unconfigured: Callable[[str], Channel]
    """Return the channel without usable settings. Takes what is wrong with them."""
    message_text: Callable[[Mapping[str, Any]], str]
    """Return the words of a message that the channel rendered."""
    address_example: str
    address_schema: Mapping[str, Any] = field(default_factory=dict)
    """What JSON Schema can express of a valid address; `addresses.check_address` decides."""
    default_addresses: Callable[[Settings], Sequence[str]] = lambda settings: ()
    """Return the platform's own addresses, which get every event on this channel."""
    default_addresses_setting: str = ""
    default_rule: RoutingRule = DEFAULT_RULE
    user_rule: RoutingRule | None = None
    """The rule of targets that users chose, None without preferences for this channel."""
    address_preference: str | None = None
    """The preference with a user's address; `NAME_enabled` is the one that switches the channel off."""
    rate_limit: Callable[[Settings], RateLimit] = lambda settings: RateLimit()
    settings_prefixes: Callable[[Settings], Sequence[str]] = lambda settings: ()
    """Return the prefixes of the settings that it uses besides those of its own section."""
    renderings: Sequence[str] = ("text",)
    """What `log show --rendered` offers: `text`, `html`, or the channel's name for the payload."""

    @property
    def enabled_setting(self) -> str:
        return f"{self.name.upper()}_ENABLED"

    @property
    def target_example(self) -> str:
        return f"{self.name}:{self.address_example}"


def http_client(settings: Settings) -> HttpClient:
    """Return a client for a provider's HTTP API."""
    from alertctl.http.client import HttpClient

    ours = settings.alertctl
    return HttpClient(ours.deadline, ours.ca_bundle, pool_size=ours.senders)
