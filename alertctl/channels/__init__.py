"""The registry of channels. Importing it loads no channel's libraries; building a channel does.

A new channel is a folder beside this file with its `ChannelType`, a line in `CHANNEL_TYPES`, and its settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertctl.channels.base import DEFAULT_ROUTING_REASON, NOT_CONFIGURED, Channel, ChannelType, RoutingReason
from alertctl.channels.email import EMAIL
from alertctl.channels.slack import SLACK
from alertctl.errors import ConfigError, InvalidEvent
from alertctl.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertctl.config import Settings

CHANNEL_TYPES: tuple[ChannelType, ...] = (
    SLACK,
    EMAIL,
)
CHANNEL_NAMES = tuple(kind.name for kind in CHANNEL_TYPES)
TARGET_EXAMPLES = tuple(kind.target_example for kind in CHANNEL_TYPES)
ROUTING_REASONS = {
    reason.name: reason
    for reason in (
        *(kind.default_routing_reason for kind in CHANNEL_TYPES),
        *(kind.user_routing_reason for kind in CHANNEL_TYPES if kind.user_routing_reason),
        RoutingReason(
            "named",
            "named by the caller",
            "the caller named it (--to) instead of the usual recipients",
            "the sender of this {event_type} named this address",
        ),
        RoutingReason(
            "route",
            "a route of the configuration",
            "route {route} sends it here",
            "the route {route} sends {event_type} to this address",
        ),
        RoutingReason(
            "label",
            "the label slack or email of the event",
            "a label of the event names it",
            "a label of this {event_type} names this address",
        ),
        RoutingReason(
            "self_alert",
            "an admin of alertctl",
            "alertctl needs help, and this address is an admin's",
            "alertctl needs help, and this address is one of its admins'",
        ),
        RoutingReason("test", "a test", "it was the target of a test", "this address was the target of a test"),
    )
}
"""Why a target was chosen, by the name that is stored with its delivery."""
_BY_NAME = {kind.name: kind for kind in CHANNEL_TYPES}


def channel_type(name: str) -> ChannelType:
    """Return the channel type of that name. Raises InvalidEvent."""
    if name not in _BY_NAME:
        raise InvalidEvent("channel", f"{str(name)[:80]!r} is not a channel{suggest(str(name), CHANNEL_NAMES)}")
    return _BY_NAME[name]


def providers_of(channel: str) -> Sequence[str]:
    """Return the providers of a channel. One that a newer version added to the database is its own provider."""
    known = _BY_NAME.get(channel)
    return known.providers if known and known.providers else (channel,)


def recipient_reason(routing_reason: str, route: str | None, event_type: str) -> str:
    """Return the sentence that tells a recipient why they receive a message."""
    because = ROUTING_REASONS.get(routing_reason, DEFAULT_ROUTING_REASON).recipient
    return f"You receive this because {because.format(event_type=event_type, route=route)}."


def build(settings: Settings, *, tolerate: bool = False) -> dict[str, Channel]:
    """Return the enabled channels by name.

    A channel with bad credentials, or with problems in `Settings.problems`, fails each delivery with reason `config`.
    Raises ConfigError for an unusable CA bundle; with `tolerate`, that fails the deliveries instead.
    """
    try:
        # Check the CA bundle at the start, not at the first alert.
        if settings.alertctl.ca_bundle:
            from alertctl.http.tls import tls_context

            tls_context(settings.alertctl.ca_bundle)
    except ConfigError as error:
        if not tolerate:
            raise
        bundle_problems = error.problems
    else:
        bundle_problems = ()
    channels = {}
    is_refused = "ALERTCTL_CA_BUNDLE" in settings.refusals
    for kind in CHANNEL_TYPES:
        if settings.channels[kind.name]:
            problems = [*bundle_problems, *_problems(kind, settings)]
            is_bundle = problems[:1] and problems[0].startswith("ALERTCTL_CA_BUNDLE") and not is_refused
            code = "bad_ca_bundle" if is_bundle else NOT_CONFIGURED
            made = kind.unconfigured("; ".join(problems), code) if problems else _reloading(kind, settings)
            channels[kind.name] = made
    return channels


def _reloading(kind: ChannelType, settings: Settings) -> Channel:
    """Return a channel that follows the files of its secrets, if it has any."""
    from alertctl.channels.reloading import ReloadingChannel
    from alertctl.config.secret_files import SecretFiles

    files = SecretFiles(settings, (f"{kind.name.upper()}_", *kind.settings_prefixes(settings)))
    return ReloadingChannel(kind, files) if files else kind.build(settings)


def _problems(kind: ChannelType, settings: Settings) -> list[str]:
    """Return what is wrong with the settings that a channel uses."""
    from alertctl.config.checks import public_tokens_in_clear

    prefixes = ("ALERTCTL_CA_BUNDLE", f"{kind.name.upper()}_", *kind.settings_prefixes(settings))
    problems = (*settings.problems, *public_tokens_in_clear(settings))
    return [
        problem
        for problem in problems
        if problem.startswith(prefixes) and problem.partition(":")[0] not in kind.appearance_settings
    ]


def build_all(settings: Settings) -> dict[str, Channel]:
    """Return every channel, disabled ones included, for rendering only. Raises ConfigError."""
    return {kind.name: kind.build(settings) for kind in CHANNEL_TYPES}
