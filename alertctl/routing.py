"""Choose the targets of an event: pure, from its channels, the platform's own targets and those of users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from alertctl import addresses
from alertctl.channels import CHANNEL_NAMES, TARGET_EXAMPLES
from alertctl.errors import InvalidEvent


@dataclass(frozen=True, slots=True)
class Target:
    """A channel and an address that an event should reach, and why.

    `routing_reason` is `named`, `test`, or the name of a channel's `RoutingReason`.
    `suppressed_reason` names why the delivery is suppressed from the start (`NAME_disabled`), else None.
    `dedup_hash` is the same for targets of events that are duplicates of each other, None without a dedup key.
    """

    channel: str
    address: str
    routing_reason: str
    user_id: str | None = None
    suppressed_reason: str | None = None
    dedup_hash: str | None = None

    @property
    def key(self) -> str:
        """The stored form of the address, for comparison."""
        return addresses.address_key(self.channel, self.address)

    @property
    def identity(self) -> tuple[str, str]:
        """The channel and recipient: in Slack `#name` and `name` are the same."""
        return self.channel, addresses.identity(self.channel, self.address)


@dataclass(frozen=True, slots=True)
class Audience:
    """The platform's own targets, and the enabled channels."""

    targets: tuple[Target, ...] = ()
    enabled: frozenset[str] = frozenset()


def route(
    channels: Sequence[str] | None,
    audience: Audience,
    user_targets: Iterable[Target],
    to: Sequence[Target] = (),
    channel: str | None = None,
) -> Iterator[Target]:
    """Return each target once: the platform's own on `channels` (None: on all), then those of users.

    Targets in `to` replace all others; `channel` restricts the result to a channel.
    """
    seen: set[tuple[str, str]] = set()
    default_targets = (
        target for target in chain(audience.targets, user_targets) if channels is None or target.channel in channels
    )
    candidates = iter(to) if to else default_targets
    for target in candidates:
        if target.identity in seen or channel not in (None, target.channel):
            continue
        seen.add(target.identity)
        disabled = target.channel not in audience.enabled
        yield replace(target, suppressed_reason=f"{target.channel}_disabled") if disabled else target


def parse_target(text: str, routing_reason: str = "named") -> Target:
    """Parse `CHANNEL:ADDRESS`, or an address whose form shows its channel (`#ops`). Raises InvalidEvent."""
    channel, colon, address = text.partition(":")
    if not colon or channel not in CHANNEL_NAMES:
        channel, address = addresses.channel_of(text), text
    if not channel:
        raise InvalidEvent("to", f"{text[:80]!r} is not a target ({' or '.join(TARGET_EXAMPLES)})")
    addresses.check_address(channel, address, "to")
    return Target(channel, address, routing_reason)
