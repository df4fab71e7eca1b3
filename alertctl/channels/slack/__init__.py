"""Slack's channel type. Importing it does not load `slack_sdk`; building the channel does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alertctl.addresses import LONGEST_SLACK_CHANNEL
from alertctl.channels.base import Channel, ChannelType, RateLimit, RoutingReason, http_client

if TYPE_CHECKING:
    from alertctl.config import Settings


def _build(settings: Settings) -> Channel:
    from alertctl.channels.slack.channel import SlackChannel

    token = settings.slack.bot_token.get_secret_value()
    return SlackChannel(token, settings.slack.api_url, http_client(settings))


def _unconfigured(problem: str) -> Channel:
    from alertctl.channels.unconfigured import UnconfiguredSlack

    return UnconfiguredSlack(problem)


def message_text(message: Mapping[str, Any]) -> str:
    """Return a payload as plain text: that of its blocks, or its `text`."""
    if "blocks" not in message:
        return str(message.get("text", ""))
    parts = (
        part
        for block in message["blocks"]
        for part in (block.get("text"), *block.get("fields", ()), *block.get("elements", ()))
    )
    return "\n".join(part_text(part) for part in parts if part)


def part_text(part: Mapping[str, Any]) -> str:
    """Return a text object or button as text: a field becomes `Name: value`, a button its label and address."""
    text: Any = part.get("text", "")
    if isinstance(text, Mapping):
        return f"[{text.get('text', '')}] {part.get('url', '')}".strip()
    name, line_break, value = str(text).partition("*\n")
    if line_break and name.startswith("*"):
        text = f"{name[1:]}: {value}"
    import html  # its table of entities is large, and only a preview needs it

    return html.unescape(str(text))


SLACK = ChannelType(
    name="slack",
    build=_build,
    unconfigured=_unconfigured,
    message_text=message_text,
    address_example="#channel",
    # Channels have names in all scripts.
    address_schema={
        "pattern": r"^#?[^\s#@,:;]{1,80}$",
        "maxLength": LONGEST_SLACK_CHANNEL,
        "examples": ["#my-alerts", "C0123456789"],
    },
    default_addresses=lambda settings: (settings.slack.default_channel,),
    default_addresses_setting="SLACK_DEFAULT_CHANNEL",
    default_routing_reason=RoutingReason(
        "default_channel", "the default channel gets every event", "SLACK_DEFAULT_CHANNEL gets every event"
    ),
    user_routing_reason=RoutingReason(
        "user_channel",
        "a user's Slack channel",
        "{user} wants {event_type} on Slack, in this channel (their preferences)",
    ),
    address_preference="slack_channel",
    allowed_addresses=lambda settings: settings.alertctl.allowed_slack_channels,
    allowed_addresses_setting="ALERTCTL_ALLOWED_SLACK_CHANNELS",
    rate_limit=lambda settings: RateLimit(settings.slack.per_second, settings.slack.burst),
    threads=lambda settings: settings.slack.threads == "subject",
    renderings=("slack", "text"),
)
