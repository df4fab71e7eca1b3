"""A provider of the sandbox and our channel to it, side by side, for tests that are the same for all three."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alertctl.channels.base import Channel, OutgoingMessage, SendResult
from alertctl.channels.email.message import NO_BRANDING, Branding, Sender
from alertctl.channels.email.sendgrid import SendGridChannel
from alertctl.channels.email.smtp import SmtpChannel
from alertctl.channels.email.smtp_auth import SmtpLogin
from alertctl.channels.email.smtp_session import FINAL_TIMEOUT, Security, SmtpServer
from alertctl.channels.slack.channel import SlackChannel
from alertctl.content import Content, Field, Severity
from alertctl.http.client import HttpClient
from alertctl.sandbox import Sandbox

SENDER = "alerts@corp.example"
PASSWORD = "hunter2-planted-password"
WHEN = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)

ALERT = Content(
    event_type="safety_rollback",
    event_id="0190c0de-0000-7000-8000-000000000001",
    title="Safety rollback: checkout-v3",
    summary="The flag checkout-v3 was rolled back in production because error_rate was 7.143%, above 5%.",
    severity=Severity.CRITICAL,
    fields=(Field("Environment", "production"), Field("Metric", "error_rate")),
    occurred_at=WHEN,
    link="https://flags.corp.example/checkout-v3?tab=history&page=2",
)


@dataclass
class ProviderHarness:
    """One provider: `recorder` is its side in the sandbox, `good` an address that it takes."""

    provider: str
    sandbox: Sandbox
    good: str

    @property
    def recorder(self) -> Any:
        return getattr(self.sandbox, self.provider)

    def channel(self, deadline: float = 5.0, **options: Any) -> Channel:
        if self.provider == "smtp":
            return smtp_channel(self.sandbox, deadline, **options)
        transport = HttpClient(deadline, options.pop("ca_bundle", self.sandbox.ca_file))
        if self.provider == "slack":
            token = options.pop("token", self.sandbox.slack.token)
            return SlackChannel(token, options.pop("url", self.sandbox.slack_api_url), transport)
        key = options.pop("token", self.sandbox.sendgrid.api_key)
        return SendGridChannel(
            key, options.pop("url", self.sandbox.sendgrid_api_url), Sender(SENDER, "Corp"), transport
        )

    def send(self, *, deadline: float = 5.0, address: str | None = None, **options: Any) -> SendResult:
        """One delivery over a channel of its own."""
        channel = self.channel(deadline, **options)
        try:
            return channel.send(ALERT, [OutgoingMessage("delivery-1", address or self.good)])[0]
        finally:
            channel.close()


def smtp_channel(sandbox: Sandbox, deadline: float = 5.0, **options: Any) -> SmtpChannel:
    username, password = sandbox.smtp.credentials or ("", "")
    known = {
        "host": sandbox.smtp_host,
        "port": sandbox.smtp_port,
        "username": username,
        "password": password,
        "ca_bundle": sandbox.ca_file,
    }
    return smtp_channel_to(**{**known, "deadline": deadline, "final_timeout": deadline, **options})


def smtp_channel_to(
    host: str,
    port: int,
    username: str = "",
    password: str = "",
    *,
    login: SmtpLogin | None = None,
    security: Security | None = None,
    hello: str = "",
    final_timeout: float = FINAL_TIMEOUT,
    branding: Branding = NO_BRANDING,
    **options: Any,
) -> SmtpChannel:
    login = login or SmtpLogin(username, password)
    server = SmtpServer(host, port, security, login, hello, final_timeout)
    return SmtpChannel(server, Sender(SENDER, "Corp", branding), **options)


GOOD = {"slack": "#alerts", "sendgrid": "dev@corp.example", "smtp": "dev@corp.example"}


def harnesses(sandbox: Sandbox) -> dict[str, ProviderHarness]:
    return {provider: ProviderHarness(provider, sandbox, good) for provider, good in GOOD.items()}
