"""Choose the targets of an event: pure, from its channels, the platform's own targets and those of users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from alertctl import addresses
from alertctl.channels import CHANNEL_NAMES, TARGET_EXAMPLES, MessageOptions
from alertctl.channels.base import DEFAULT_OPTIONS
from alertctl.errors import InvalidEvent


@dataclass(frozen=True, slots=True)
class Target:
    """A channel and an address that an event should reach, and why.

    `routing_reason` is `named`, `test`, or the name of a channel's `RoutingReason`.
    `suppressed_reason` names why the delivery is suppressed from the start (`NAME_disabled`, `recipient_not_allowed`),
    else None.
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
"""The suppressed reason of a user's address that the recipient policy does not allow."""


@dataclass(frozen=True, slots=True)
class RecipientPolicy:
    """The addresses that callers and users may name: globs by channel, and the setting that holds them. Empty: all."""

    globs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def allows(self, channel: str, address: str) -> bool:
        globs = self.globs.get(channel)
        return not globs or any(addresses.matches_glob(channel, address, glob) for glob in globs)

    def check(self, channel: str, address: str, field_name: str) -> None:
        """Raise InvalidEvent for an address that is not allowed."""
        if not self.allows(channel, address):
            allowed = ", ".join(self.globs[channel])[:200]
            raise InvalidEvent(
                field_name, f"{address[:80]!r} is not an allowed recipient ({self.settings.get(channel)}: {allowed})"
            )


@dataclass(frozen=True, slots=True)
class Audience:
    """The platform's own targets, the enabled channels, and the policy for all other targets."""

    targets: tuple[Target, ...] = ()
    enabled: frozenset[str] = frozenset()
    policy: RecipientPolicy = RecipientPolicy()

    def check(self, target: Target) -> None:
        """Raise InvalidEvent for a named target that is neither the platform's own nor allowed."""
        if target.identity not in {own.identity for own in self.targets}:
            self.policy.check(target.channel, target.address, "to")


def route(
    channels: Sequence[str] | None,
    audience: Audience,
    user_targets: Iterable[Target],
    to: Sequence[Target] = (),
    channel: str | None = None,
) -> Iterator[Target]:
    """Return each target once: the platform's own on `channels` (None: on all), then those of users.

    Targets in `to` replace all others; `channel` restricts the result to a channel. A user's target that the policy
    does not allow is suppressed.
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
        reason = None
        if target.channel not in audience.enabled:
            reason = f"{target.channel}_disabled"
        elif target.user_id is not None and not audience.policy.allows(target.channel, target.address):
            reason = NOT_ALLOWED
        yield replace(target, suppressed_reason=reason) if reason else target


def parse_target(text: str, routing_reason: str = "named") -> Target:
    """Parse `CHANNEL:ADDRESS`, or an address whose form shows its channel (`#ops`). Raises InvalidEvent."""
    channel, colon, address = text.partition(":")
    if not colon or channel not in CHANNEL_NAMES:
        channel, address = addresses.channel_of(text), text
    if not channel:
        raise InvalidEvent("to", f"{text[:80]!r} is not a target ({' or '.join(TARGET_EXAMPLES)})")
    addresses.check_address(channel, address, "to")
    return Target(channel, address, routing_reason)
