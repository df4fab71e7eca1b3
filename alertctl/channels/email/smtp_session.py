"""An SMTP session: connect, start TLS, authenticate, then send many messages on one connection."""

from __future__ import annotations

import ipaddress
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from alertctl.channels.email.smtp_auth import SmtpLogin, login_of
from alertctl.channels.email.smtp_connection import SmtpConnection, decode_reply
from alertctl.channels.email.smtp_errors import SmtpRefusal, SmtpStep, smtp_error
from alertctl.deadline import Deadline
from alertctl.errors import DeliveryError, Reason

if TYPE_CHECKING:
    from alertctl.config import Settings

Security = Literal["starttls", "tls", "none"]

IDLE_LIMIT = 60.0
"""Seconds after which a kept connection is not used again; servers wait 5 minutes (RFC 5321, 4.5.3.2)."""
FINAL_TIMEOUT = 600.0
"""Seconds to wait for the answer to the complete message (RFC 5321, 4.5.3.2.6). A shorter wait sends it again."""
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server and how to connect to it.

    `security` None means TLS on port 465 and STARTTLS on others, optional on a loopback host that doesn't offer it.
    """

    host: str
    port: int
    security: Security | None = None
    login: SmtpLogin = field(default_factory=SmtpLogin, repr=False)
    hello: str = ""
    """The name in EHLO. If empty, this machine's (see `SmtpConnection.open`)."""
    final_timeout: float = FINAL_TIMEOUT
    """Seconds to wait for the answer to the complete message."""

    @property
    def implicit_tls(self) -> bool:
        return self.security == "tls" or (self.security is None and self.port == 465)

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host.lower().rstrip(".") == "localhost"


def server_of(settings: Settings) -> SmtpServer:
    """Return the mail server of these settings."""
    smtp, security = settings.smtp, cast("Security | None", settings.smtp.security)
    return SmtpServer(smtp.host, smtp.port, security, login_of(smtp), settings.alertctl.helo, smtp.final_timeout)


class SmtpSession(SmtpConnection):
    """A connected, secured and authenticated session. Call `begin`, then `finish`, for each message."""

    def __init__(self, server: SmtpServer, context: Callable[[], ssl.SSLContext], deadline: Deadline) -> None:
        """Connect and authenticate. Raises DeliveryError, never an ambiguous one: no message was sent."""
        super().__init__(server.hello, deadline)
        self._server = server
        self._context = context
        self.last_used = time.monotonic()
        self.reused = False
        self._sent = False
        try:
            self._connect()
            self._greet()
        except BaseException as exc:
            connecting = not self.has_read_reply
            self.close()
            if not isinstance(exc, Exception):
                raise
            raise self._as_delivery_error(exc, connecting=connecting) from None

    def renew(self, deadline: Deadline) -> None:
        """Start another attempt on this connection."""
        self.deadline = deadline
        self.reused = True
        self._sent = False

    @property
    def is_usable(self) -> bool:
        """Whether the session was used recently and, as far as this side knows, is still open."""
        return time.monotonic() - self.last_used < IDLE_LIMIT and self.is_idle

    def begin(self, sender: str, size: int, *, utf8: bool) -> None:
        """Send MAIL FROM. Raises DeliveryError."""
        options = f" SIZE={size}" if self.has_extn("size") else ""
        if utf8 and not self.has_extn("smtputf8"):
            detail = "the server takes no addresses with letters beyond ASCII before the @"
            raise DeliveryError(Reason.BAD_ADDRESS, "smtputf8_unsupported", detail=detail)
        self.command_encoding = "utf-8" if utf8 else "ascii"
        self._command(SmtpStep.MAIL, f"MAIL FROM:<{sender}>{options}{' SMTPUTF8' if utf8 else ''}", (250,))

    def finish(self, address: str, message: bytes) -> str:
        """Send RCPT TO, DATA and the message; return the server's answer to it. Raises DeliveryError."""
        self._command(SmtpStep.RCPT, f"RCPT TO:<{address}>", (250, 251))
        self._server.login.note_accepted_recipient()
        self._command(SmtpStep.DATA, "DATA", (354,))
        try:
            self.send(_LEADING_DOT.sub(b"..", message) + (b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n"))
            self._sent = True
            self.deadline = Deadline(max(self._server.final_timeout, self.deadline.remaining()))
            code, text = self.getreply()
        except Exception as exc:
            raise self._as_delivery_error(exc) from None
        if code != 250:
            raise SmtpRefusal(SmtpStep.END, code, decode_reply(text))
        self.last_used = time.monotonic()
        return f"{code} {decode_reply(text)}"

    def reset(self) -> bool:
        """Send RSET after a refusal. Return whether the session may be used again."""
        try:
            return self.rset()[0] == 250
        except Exception:
            return False

    def quit_and_close(self) -> None:
        """Send QUIT and close without reading the answer: the server has answered for each message."""
        self.deadline = Deadline(1.0)
        try:
            self.putcmd("QUIT")
        except Exception:
            pass
        self.close()

    def _connect(self) -> None:
        self.open(self._server.host, self._server.port)
        if self._server.implicit_tls:
            self._secure()
        code, text = self.getreply()
        if code != 220:
            raise SmtpRefusal(SmtpStep.GREETING, code, decode_reply(text))

    def _greet(self) -> None:
        self._hello()
        if self._wants_starttls():
            self._command(SmtpStep.STARTTLS, "STARTTLS", (220,))
            self._secure()
            self._hello()
        if self._server.login.username:
            self._authenticate()

    def _hello(self) -> None:
        code, text = self.ehlo()
        if 500 <= code < 600:
            code, text = self.helo()
        if code != 250:
            raise SmtpRefusal(SmtpStep.HELLO, code, decode_reply(text))

    def _wants_starttls(self) -> bool:
        if self._server.implicit_tls or self._server.security == "none":
            return False
        if self.has_extn("starttls"):
            return True
        if self._server.security is None and self._server.is_loopback:
            return False
        detail = "the server offers no STARTTLS; SMTP_SECURITY=none would send everything in clear"
        raise DeliveryError(Reason.CONFIG, "starttls_unavailable", detail=detail)

    def _secure(self) -> None:
        self.start_tls(self._context(), self._server.host.strip("[]"))

    def _authenticate(self) -> None:
        if not (self.is_encrypted or self._server.is_loopback or self._server.security == "none"):
            detail = "the connection is not encrypted; set SMTP_SECURITY to starttls or tls"
            raise DeliveryError(Reason.CONFIG, "auth_in_clear", detail=detail)
        offered = self.esmtp_features.get("auth", "").upper().split()
        code, text = self._server.login.authenticate(self.docmd, offered)
        if code != 235:
            raise SmtpRefusal(SmtpStep.AUTH, code, decode_reply(text))

    def _command(self, step: SmtpStep, line: str, expected: tuple[int, ...]) -> None:
        try:
            code, text = self.docmd(line)
        except Exception as exc:
            raise self._as_delivery_error(exc) from None
        if code not in expected:
            accepts_others = self._server.login.has_accepted_recipient
            raise SmtpRefusal(step, code, decode_reply(text), accepts_others=accepts_others)

    def _as_delivery_error(self, exc: Exception, *, connecting: bool = False) -> DeliveryError:
        return exc if isinstance(exc, DeliveryError) else smtp_error(exc, sent=self._sent, connecting=connecting)
