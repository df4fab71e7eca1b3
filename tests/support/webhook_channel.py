"""A channel type for tests: each message is a POST of JSON to WEBHOOK_URL/ADDRESS."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alertctl.channels.base import Channel, ChannelType, OutgoingMessage, RateLimit, Receipt, SendResult, Unconfigured
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason

if TYPE_CHECKING:
    from alertctl.config import Settings


def _render(content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
    return {"id": outgoing.delivery_id, "title": content.title}


class WebhookChannel:
    name = "webhook"
    provider = "webhook"
    batch_size = 1

    def __init__(self, url: str, deadline: float) -> None:
        self.deadline = deadline
        self._url = url

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        return [self._post(content, outgoing) for outgoing in messages]

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        return _render(content, outgoing)

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _post(self, content: Content, outgoing: OutgoingMessage) -> SendResult:
        body = json.dumps(self.render(content, outgoing)).encode()
        try:
            with urllib.request.urlopen(f"{self._url}/{outgoing.address}", body, self.deadline) as reply:
                return Receipt(reply.headers["X-Message-Id"])
        except OSError as error:
            return DeliveryError(Reason.UNAVAILABLE, "no_reply", detail=str(error))


class UnconfiguredWebhook(Unconfigured):
    name = "webhook"
    provider = "webhook"

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        return _render(content, outgoing)


def _build(settings: Settings) -> Channel:
    return WebhookChannel(settings.webhook.url, settings.alertctl.deadline)  # type: ignore[attr-defined]


WEBHOOK = ChannelType(
    name="webhook",
    build=_build,
    unconfigured=UnconfiguredWebhook,
    message_text=lambda message: str(message["title"]),
    address_example="team",
    default_addresses=lambda settings: ("everyone",),
    rate_limit=lambda settings: RateLimit(per_second=100, burst=10),
    renderings=("webhook", "text"),
)
