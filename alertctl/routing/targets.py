"""Targets: a channel and an address, why it was chosen, and which addresses callers and users may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alertctl import addresses
from alertctl.channels import CHANNEL_NAMES, TARGET_EXAMPLES, channel_type
from alertctl.channels.base import DEFAULT_OPTIONS, MessageOptions
from alertctl.errors import InvalidEvent


@dataclass(frozen=True, slots=True)
class Target:
    """A channel and an address that an event should reach, and why.

    `routing_reason` is `named`, `test`, or the name of a channel's `RoutingReason`.
    `suppressed_reason` names why the delivery is suppressed from the start (`NAME_disabled`, `recipient_not_allowed`,
    `route NAME`), else None.
    `route` is the name of the route that chose it, `options` the form of its message.
    `dedup_hash` is the same for targets of events that are duplicates of each other, None without a dedup key.
    """

    channel: str
    address: str
    routing_reason: str
    user_id: str | None = None
    suppressed_reason: str | None = None
    dedup_hash: str | None = None
    route: str | None = None
    options: MessageOptions = DEFAULT_OPTIONS

    @property
    def key(self) -> str:
        """The stored form of the address, for comparison."""
        return addresses.address_key(self.channel, self.address)

    @property
    def identity(self) -> tuple[str, str]:
        """The channel and recipient: in Slack `#name` and `name` are the same."""
        return self.channel, addresses.identity(self.channel, self.address)


NOT_ALLOWED = "recipient_not_allowed"
"""The suppressed reason of an address of a user or a label that the recipient policy does not allow."""


@dataclass(frozen=True, slots=True)
class RecipientPolicy:
    """The addresses that callers and users may name: globs by channel. Empty: all.

    A person who is addressed by email (`@ana@corp.example`) must be allowed on that channel and as an email recipient.
    """

    globs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def allows(self, channel: str, address: str) -> bool:
        return self._refusing_channel(channel, address) is None

    def check(self, channel: str, address: str, field_name: str) -> None:
        """Raise InvalidEvent for an address that is not allowed."""
        refusing = self._refusing_channel(channel, address)
        if refusing is not None:
            allowed = ", ".join(self.globs[refusing])[:200]
            setting = channel_type(refusing).allowed_addresses_setting
            raise InvalidEvent(field_name, f"{address[:80]!r} is not an allowed recipient ({setting}: {allowed})")

    def _refusing_channel(self, channel: str, address: str) -> str | None:
        """Return the channel whose globs refuse an address, None if it is allowed."""
        for name, form in addresses.channel_forms(channel, address):
            globs = self.globs.get(name)
            if globs and not any(addresses.matches_glob(name, form, glob) for glob in globs):
                return name
        return None


def parse_target(text: str, routing_reason: str = "named") -> Target:
    """Parse `CHANNEL:ADDRESS`, or an address whose form shows its channel (`#ops`). Raises InvalidEvent."""
    channel, colon, address = text.partition(":")
    if not colon or channel not in CHANNEL_NAMES:
        channel, address = addresses.channel_of(text), text
    if not channel:
        raise InvalidEvent("to", f"{text[:80]!r} is not a target ({' or '.join(TARGET_EXAMPLES)})")
    addresses.check_address(channel, address, "to")
    return Target(channel, address, routing_reason)


def label_targets(labels: Mapping[str, str]) -> tuple[list[Target], list[str]]:
    """Return the targets that labels named after a channel add (`slack=#ops`), and warnings about unusable ones."""
    targets: list[Target] = []
    warnings: list[str] = []
    for channel in CHANNEL_NAMES:
        if address := labels.get(channel):
            try:
                addresses.check_address(channel, address, f"label {channel}")
            except InvalidEvent as error:
                warnings.append(f"{error}; the label adds no target")
            else:
                targets.append(Target(channel, address, "label"))
    return targets, warnings
