"""One connection to an SMTP server, kept for many messages. smtplib speaks; the deadline and the judgement are ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import smtplib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from urllib3.util.wait import wait_for_read

from alertctl.channels.email.network_errors import RequestPhase
from alertctl.channels.email.smtp_connection import BadReplyError, Deadline, NoReplyError, ReplyReader, open_socket
from alertctl.channels.email.smtp_errors import SmtpRefusal, SmtpStep, smtp_error
from alertctl.errors import DeliveryError, Reason

Security = Literal["starttls", "tls", "none"]

IDLE_LIMIT = 60.0
"""Seconds after which a kept connection is not used again; servers wait 5 minutes (RFC 5321, 4.5.3.2)."""
LINE_LIMIT = 8192
_REPLY_LINE = re.compile(rb"([2-5]\d\d)([ -]?)(.*)", re.DOTALL)
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where the server is and how it is to be spoken to. `security` None: TLS on port 465, STARTTLS elsewhere,
    and neither on a loopback host that doesn't offer it."""

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    security: Security | None = None
    hello: str = "localhost"
    """What EHLO says: fixed, because finding a name would take a DNS look-up."""

    @property
    def implicit_tls(self) -> bool:
        return self.security == "tls" or (self.security is None and self.port == 465)

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host.lower().rstrip(".") == "localhost"


class SmtpSession(smtplib.SMTP):
    """A connected, secured and authenticated session. `begin`, then `finish`, once for each message."""

    def __init__(self, server: SmtpServer, context: Callable[[], ssl.SSLContext], deadline: Deadline) -> None:
        """Connect. Raises DeliveryError: nothing has been sent yet, so never ambiguous."""
        super().__init__(local_hostname=server.hello)
        self._server = server
        self._context = context
        self.deadline = deadline
        self.last_used = time.monotonic()
        self.reused = False
        self._stage = RequestPhase.BEFORE
        try:
            self._connect()
            self._greet()
        except BaseException as exc:
            connecting = self.file is None
            self.close()
            if not isinstance(exc, Exception):
                raise
            raise self._as_delivery_error(exc, connecting=connecting) from None

    def renew(self, deadline: Deadline) -> None:
        """Start another attempt on this connection."""
        self.deadline = deadline
        self.reused = True
        self._stage = RequestPhase.BEFORE

    @property
    def usable(self) -> bool:
        """Whether the server has neither closed the connection nor said goodbye on it, as far as one can see."""
        idle = time.monotonic() - self.last_used
        if self.sock is None or idle >= IDLE_LIMIT or self._spoken_to:
            return False
        return not wait_for_read(self.sock, timeout=0.0)

    @property
    def _spoken_to(self) -> bool:
        """Whether the server has answered what it wasn't asked; it could pass for the answer to what comes next."""
        return isinstance(self.file, ReplyReader) and self.file.unread

    def begin(self, sender: str, size: int, *, utf8: bool) -> None:
        """Send MAIL FROM. Raises DeliveryError."""
        options = f" SIZE={size}" if self.has_extn("size") else ""
        if utf8 and not self.has_extn("smtputf8"):
            detail = "the server takes no addresses with letters beyond ASCII before the @"
            raise DeliveryError(Reason.BAD_ADDRESS, "smtputf8_unsupported", detail=detail)
        self.command_encoding = "utf-8" if utf8 else "ascii"
        self._command(SmtpStep.MAIL, f"MAIL FROM:<{sender}>{options}{' SMTPUTF8' if utf8 else ''}", (250,))

    def finish(self, address: str, message: bytes) -> str:
        """RCPT TO, DATA, the message; returns what the server said to it. Raises DeliveryError."""
        self._command(SmtpStep.RCPT, f"RCPT TO:<{address}>", (250, 251))
        self._command(SmtpStep.DATA, "DATA", (354,))
        try:
            self.send(_LEADING_DOT.sub(b"..", message) + (b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n"))
            self._stage = RequestPhase.AFTER
            code, text = self.getreply()
        except Exception as exc:
            raise self._as_delivery_error(exc) from None
        if code != 250:
            raise SmtpRefusal(SmtpStep.END, code, _text(text))
        self.last_used = time.monotonic()
        return f"{code} {_text(text)}"

    def reset(self) -> bool:
        """RSET after a refusal; whether the session may be used again."""
        try:
            return self.rset()[0] == 250
        except Exception:
            return False

    def quit_and_close(self) -> None:
        """Say QUIT and go. What the server answers doesn't matter: it has had its say about each message."""
        self.deadline = Deadline(1.0)
        try:
            self.putcmd("QUIT")
        except Exception:
            pass
        self.close()

    def send(self, s: str | bytes | bytearray | memoryview) -> None:  # type: ignore[override]
        """Send under the deadline; what fails stays the exception it is."""
        if self.sock is None:
            raise NoReplyError("the connection is closed")
        if self._spoken_to:
            raise BadReplyError("the server answers before it is asked")
        self.sock.settimeout(self.deadline.require())
        self.sock.sendall(s.encode(self.command_encoding) if isinstance(s, str) else s)

    def getreply(self) -> tuple[int, bytes]:
        """A whole reply: every line complete, every line with the same code."""
        lines: list[bytes] = []
        reader = self._reader()
        code, separator = 0, b"-"
        while separator == b"-":
            line = reader.readline(LINE_LIMIT)
            match = _REPLY_LINE.fullmatch(line.rstrip(b"\r\n"))
            if not line:
                raise NoReplyError("the server closed the connection")
            if match is None or (lines and int(match[1]) != code):
                # Neither cut nor quoted: a secret in it has to be known again.
                raise BadReplyError(f"not an SMTP reply: {_text(line)}")
            code, separator = int(match[1]), match[2]
            lines.append(match[3].strip())
        return code, b"\n".join(lines)

    def _reader(self) -> ReplyReader:
        if self.sock is None:
            raise NoReplyError("the connection is closed")
        if self.file is None:
            self.file = ReplyReader(self.sock, self.deadline)
        assert isinstance(self.file, ReplyReader)
        self.file.renew(self.deadline)
        return self.file

    def _connect(self) -> None:
        self.sock = open_socket(self._server.host, self._server.port, self.deadline)
        if self._server.implicit_tls:
            self._secure()
        code, text = self.getreply()
        if code != 220:
            raise SmtpRefusal(SmtpStep.GREETING, code, _text(text))

    def _greet(self) -> None:
        self._hello()
        if self._wants_starttls():
            self._command(SmtpStep.STARTTLS, "STARTTLS", (220,))
            self._secure()
            self._hello()
        if self._server.username:
            self._authenticate()

    def _hello(self) -> None:
        code, text = self.ehlo()
        if 500 <= code < 600:
            code, text = self.helo()
        if code != 250:
            raise SmtpRefusal(SmtpStep.HELLO, code, _text(text))

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
        """TLS from here on. What was read ahead, and what the server said of itself before, is forgotten (RFC 3207)."""
        assert self.sock is not None
        if self.file is not None:
            self.file.close()
            self.file = None
        self.sock.settimeout(self.deadline.require())
        self.sock = self._context().wrap_socket(self.sock, server_hostname=self._server.host.strip("[]"))
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def _authenticate(self) -> None:
        if not isinstance(self.sock, ssl.SSLSocket) and not self._server.is_loopback:
            detail = "a password is never sent in clear; set SMTP_SECURITY to starttls or tls"
            raise DeliveryError(Reason.CONFIG, "auth_in_clear", detail=detail)
        offered = self.esmtp_features.get("auth", "").upper().split()
        code, text = self._login(offered)
        if code != 235:
            raise SmtpRefusal(SmtpStep.AUTH, code, _text(text))

    def _login(self, offered: list[str]) -> tuple[int, bytes]:
        name, password = self._server.username, self._server.password
        if "PLAIN" in offered:
            return self.docmd("AUTH PLAIN", _base64(f"\0{name}\0{password}"))
        if "LOGIN" in offered:
            code, text = self.docmd("AUTH LOGIN", _base64(name))
            return self.docmd(_base64(password)) if code == 334 else (code, text)
        if "CRAM-MD5" in offered:
            code, text = self.docmd("AUTH CRAM-MD5")
            return self.docmd(_base64(f"{name} {_digest(password, text)}")) if code == 334 else (code, text)
        detail = f"the server offers {' '.join(offered) or 'no way to log in'}; PLAIN, LOGIN or CRAM-MD5 is needed"
        raise DeliveryError(Reason.CONFIG, "auth_unavailable", detail=detail)

    def _command(self, step: SmtpStep, line: str, expected: tuple[int, ...]) -> None:
        try:
            code, text = self.docmd(line)
        except Exception as exc:
            raise self._as_delivery_error(exc) from None
        if code not in expected:
            raise SmtpRefusal(step, code, _text(text))

    def _as_delivery_error(self, exc: Exception, *, connecting: bool = False) -> DeliveryError:
        return exc if isinstance(exc, DeliveryError) else smtp_error(exc, self._stage, connecting=connecting)


def _digest(password: str, challenge: bytes) -> str:
    return hmac.new(password.encode(), base64.b64decode(challenge), hashlib.md5).hexdigest()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(reply: bytes) -> str:
    return reply.decode("utf-8", "replace")
