"""Channels without usable settings: each delivery fails with the missing or wrong setting, and waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alertctl.channels.base import OutgoingMessage, SendResult, ThreadRoot
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason

if TYPE_CHECKING:
    from alertctl.channels.email.message import Branding


class Unconfigured:
    """A channel that calls no provider. `problem` names the settings that are missing or wrong."""

    batch_size = 1
    deadline = 1.0

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        return [DeliveryError(Reason.CONFIG, "not_configured", detail=self._problem) for _ in messages]

    def close(self) -> None:
        """Do nothing: there are no connections."""


class UnconfiguredSlack(Unconfigured):
    """Slack without usable settings."""

    name = "slack"
    provider = "slack"

    def find_person(self, email: str, timeout: float) -> str | None:
        """Raise DeliveryError: the settings are missing or wrong."""
        raise DeliveryError(Reason.CONFIG, "not_configured", detail=self._problem)

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """Return the payload that would be posted."""
        from alertctl.channels.slack.blocks import slack_message

        return slack_message(content, outgoing)

    def update_root(self, root: ThreadRoot, contents: Sequence[Content], earlier: int) -> SendResult:
        """Fail, like every delivery."""
        return DeliveryError(Reason.CONFIG, "not_configured", detail=self._problem)


class UnconfiguredEmail(Unconfigured):
    """Email without a provider, or with wrong settings."""

    name = "email"
    provider = "smtp"

    def __init__(self, problem: str, branding: Branding | None = None) -> None:
        super().__init__(problem)
        self._branding = branding

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """Return the email that would be sent, with a placeholder for the sender."""
        from alertctl.channels.email.message import NO_BRANDING, Sender, preview

        return preview(content, outgoing, Sender("nobody@alertctl.invalid", branding=self._branding or NO_BRANDING))
