"""A local SMTP server (RFC 5321) that takes every message and delivers none."""

from __future__ import annotations

import ssl

from alertctl.sandbox.connection import Wire
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.provider import Provider
from alertctl.sandbox.recorder import SmtpCall, SmtpMessage
from alertctl.sandbox.smtp_session import SmtpSession

Credentials = tuple[str, str]


class Smtp(Provider[SmtpMessage, SmtpCall]):
    """`credentials` (user, password), when set, are asked for; `auth_error` is what refuses even the right ones.

    `tls` is offered as STARTTLS; a connection that is encrypted already (implicit TLS) isn't offered it again.
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

    async def serve(self, wire: Wire, early: Fault | None) -> None:
        await SmtpSession(self, wire).run(early)
