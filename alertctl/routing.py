"""Who receives an event: pure, from the event's type, the settings' audience and the users who want it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from alertctl import addresses
from alertctl.errors import InvalidEvent

Rule = Literal["default_channel", "admin_email", "user_channel", "user_email", "named", "test"]
CHANNELS = ("slack", "email")


@dataclass(frozen=True, slots=True)
class Target:
    """A channel and an address that an event should reach, and the rule that chose it.

    `held_back` names why the delivery is born suppressed (`slack_disabled`), None when it is to be sent.
    `dedup_hash` is the same for targets of events that are duplicates of each other, None without a dedup key.
    """

    channel: str
    address: str
    rule: Rule
    user_id: str | None = None
    held_back: str | None = None
    dedup_hash: str | None = None

    @property
    def key(self) -> str:
        """The address as it is stored to be compared."""
        return addresses.address_key(self.channel, self.address)

    @property
    def identity(self) -> tuple[str, str]:
        """What it reaches: to Slack `#name` and `name` are one channel."""
        return self.channel, addresses.identity(self.channel, self.address)


@dataclass(frozen=True, slots=True)
class Audience:
    """The platform's own audience, and which channels are switched on."""

    slack_channel: str
    admin_emails: tuple[str, ...]
    enabled: frozenset[str]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A user who wants an event, and where. None = not on that channel."""

    user_id: str
    slack_channel: str | None
    email_address: str | None


def route(
    channels: Sequence[str],
    audience: Audience,
    recipients: Iterable[Recipient],
    to: Sequence[Target] = (),
    channel: str | None = None,
) -> Iterator[Target]:
    """Each target once, in the order of DESIGN's table; those in `to` replace all others, `channel` keeps its own."""
    seen: set[tuple[str, str]] = set()
    candidates = iter(to) if to else _asked(channels, audience, recipients)
    for target in candidates:
        if target.identity in seen or channel not in (None, target.channel):
            continue
        seen.add(target.identity)
        off = target.channel not in audience.enabled
        yield replace(target, held_back=f"{target.channel}_disabled") if off else target


def _asked(channels: Sequence[str], audience: Audience, recipients: Iterable[Recipient]) -> Iterator[Target]:
    if "slack" in channels:
        yield Target("slack", audience.slack_channel, "default_channel")
    if "email" in channels:
        for address in audience.admin_emails:
            yield Target("email", address, "admin_email")
    for recipient in recipients:
        if "slack" in channels and recipient.slack_channel:
            yield Target("slack", recipient.slack_channel, "user_channel", recipient.user_id)
        if "email" in channels and recipient.email_address:
            yield Target("email", recipient.email_address, "user_email", recipient.user_id)


def parse_target(text: str, rule: Rule = "named") -> Target:
    """`slack:#x` or `email:a@b` -> Target. Raises InvalidEvent."""
    channel, colon, address = text.partition(":")
    if not colon or channel not in CHANNELS:
        raise InvalidEvent("to", f"{text[:80]!r} is not a target (slack:#channel or email:somebody@example.com)")
    addresses.check_address(channel, address, "to")
    return Target(channel, address, rule)
