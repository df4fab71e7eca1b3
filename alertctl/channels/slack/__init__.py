"""Slack's channel type. Importing it does not load `slack_sdk`; building the channel does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alertctl.addresses import LONGEST_EMAIL
from alertctl.channels.base import (
    Channel,
    ChannelType,
    MessageOptions,
    OutgoingMessage,
    RateLimit,
    RoutingReason,
    SendResult,
    ThreadRoot,
    Unconfigured,
    http_client,
)

if TYPE_CHECKING:
    from alertctl.config import Settings
    from alertctl.content import Content


def _build(settings: Settings) -> Channel:
    from alertctl.channels.slack.channel import SlackChannel

    token = settings.slack.bot_token.get_secret_value()
    return SlackChannel(token, settings.slack.api_url, http_client(settings))


class UnconfiguredSlack(Unconfigured):
    name = "slack"
    provider = "slack"

    def find_person(self, email: str, timeout: float) -> str | None:
        raise self.failure()

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        from alertctl.channels.slack.blocks import slack_message

        return slack_message(content, outgoing)

    def update_root(self, root: ThreadRoot, contents: Sequence[Content], earlier: int) -> SendResult:
        return self.failure()


NO_EMAILS: Mapping[str, str] = {}


def message_text(message: Mapping[str, Any]) -> str:
    """Return a payload as plain text: that of its blocks, or its `text`."""
    if "blocks" not in message:
        return plain_text(str(message.get("text", "")))
    return "\n".join(filter(None, map(block_text, message["blocks"])))


def block_text(block: Mapping[str, Any], emails: Mapping[str, str] = NO_EMAILS) -> str:
    """Return a Block Kit block as plain text, with the emails of the mentioned people whose ids are known."""
    if block.get("type") == "rich_text":
        sections = (part["elements"] for part in block["elements"])
        return "\n".join("".join(_element_text(element, emails) for element in section) for section in sections)
    texts = [part["text"] for part in (block.get("text"), *block.get("fields", ())) if part]
    elements = [part["text"] for part in block.get("elements", ()) if "text" in part]
    return "\n".join(filter(None, [*map(plain_text, texts), " · ".join(map(plain_text, elements))]))


def _element_text(element: Mapping[str, Any], emails: Mapping[str, str]) -> str:
    """Return an element of rich text.

    A link is its text and address, a person the email or id, a group the id, and a date the fallback.
    """
    if element.get("type") == "link":
        return f"{element.get('text', '')} {element['url']}".strip()
    if element.get("type") in ("user", "usergroup"):
        provider_id = str(element.get("user_id") or element.get("usergroup_id"))
        return f"@{emails.get(provider_id, provider_id)}"
    return str(element.get("text", element.get("fallback", "")))


def plain_text(text: str | Mapping[str, Any]) -> str:
    """Return text of Slack's markup as plain text, with the fallback of a date."""
    import html  # its table of entities is large, and only a preview needs it

    if isinstance(text, Mapping):
        text = text.get("text", "")
    return html.unescape(re.sub(r"<!date\^[^|>]*\|([^>]*)>", r"\1", str(text)))


SLACK = ChannelType(
    name="slack",
    build=_build,
    unconfigured=UnconfiguredSlack,
    message_text=message_text,
    address_example="#channel",
    # Channels have names in all scripts.
    address_schema={
        "pattern": r"^(#?[^\s#@,:;]{1,80}|@[^\s@]+@[^\s@]+|@me)$",
        "maxLength": LONGEST_EMAIL,
        "examples": ["#my-alerts", "C0123456789", "@ana@corp.example", "@me"],
    },
    default_addresses=lambda settings: (settings.slack.default_channel,),
    default_addresses_setting="SLACK_DEFAULT_CHANNEL",
    default_address_options=lambda settings: MessageOptions(
        settings.slack.style, settings.slack.mention, settings.slack.mention_from
    ),
    message_options=lambda settings: MessageOptions(settings.slack.style),
    default_routing_reason=RoutingReason("default_channel", "the default channel", "it is SLACK_DEFAULT_CHANNEL"),
    user_routing_reason=RoutingReason(
        "user_channel",
        "a user's Slack channel",
        "{user} wants {event_type} on Slack, in this channel (their preferences)",
    ),
    address_preference="slack_channel",
    allowed_addresses=lambda settings: settings.alertctl.allowed_slack_channels,
    allowed_addresses_setting="ALERTCTL_ALLOWED_SLACK_CHANNELS",
    has_directory=True,
    rate_limit=lambda settings: RateLimit(settings.slack.per_second, settings.slack.burst),
    appearance_settings=("SLACK_STYLE", "SLACK_MENTION", "SLACK_MENTION_FROM"),
    threads=lambda settings: settings.slack.threads == "subject",
    renderings=("slack", "text"),
)
