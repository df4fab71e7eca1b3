"""A local SMTP server (RFC 5321) that takes every message and delivers none."""

from __future__ import annotations

import ssl

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.provider import Provider
from alertctl.sandbox.records import SmtpCall, SmtpMessage
from alertctl.sandbox.smtp_session import SmtpSession

Credentials = tuple[str, str]


class Smtp(Provider[SmtpMessage, SmtpCall]):
    """When `credentials` (user, password) are set, AUTH is required; `auth_error` refuses even the right ones.

    `tls` is offered as STARTTLS, except on a connection that is encrypted already (implicit TLS).
    """

    name = "smtp"
    built_in = {  # noqa: RUF012  (a ClassVar in the base class)
        "missing@": "rcpt_550",
        "full@": "rcpt_452",
        "flaky@": "rcpt_451",
    }

    credentials: Credentials | None = None
    hostname = "sandbox.localhost"
    size_limit = 30 * 1024 * 1024
    """Bytes of one message."""
    tls: ssl.SSLContext | None = None

    async def serve(self, connection: ClientConnection, early: Fault | None) -> None:
        await SmtpSession(self, connection).run(early)
