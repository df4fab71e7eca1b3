"""Channels without the settings to send with: every delivery waits and names what is missing or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from alertctl.channels.base import OutgoingMessage, SendResult
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason


class Unconfigured:
    """`problem` names the settings that are missing or wrong."""

    batch_size = 1
    deadline = 1.0

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        return [DeliveryError(Reason.CONFIG, "not_configured", detail=self._problem) for _ in messages]

    def close(self) -> None:
        """Nothing is kept."""


class UnconfiguredSlack(Unconfigured):
    """Slack without usable settings."""

    name = "slack"
    provider = "slack"

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """The payload that would be posted."""
        from alertctl.channels.slack.blocks import slack_message

        return slack_message(content, outgoing.address, outgoing.delivery_id, plain=outgoing.plain)


class UnconfiguredEmail(Unconfigured):
    """Email without a way out, or with wrong settings."""

    name = "email"
    provider = "smtp"

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """What would be sent, from nobody."""
        from alertctl.channels.email.message import Sender, headers, render_email

        said = render_email(content, outgoing.plain)
        nobody = Sender("nobody@alertctl.invalid")
        shown = headers(content, outgoing.delivery_id, outgoing.address, nobody, datetime.now(UTC))
        return {"headers": shown, "text": said.text, "html": said.html}
