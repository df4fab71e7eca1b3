"""A connection to a mail server. One deadline covers every look-up, connect, read and write of an attempt."""

from __future__ import annotations

import ipaddress
import re
import select
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from alertctl.deadline import Deadline

REPLY_LIMIT = 1 << 20
"""Bytes of a reply before it counts as endless."""
LINE_LIMIT = 8192
_FULL_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)
_REPLY_LINE = re.compile(rb"([2-5]\d\d)([ -]?)(.*)", re.DOTALL)


class ReplyTooLongError(OSError):
    """The reply exceeds the limit."""


class ReplyCutError(OSError):
    """The reply ends in the middle of a line."""


class NoReplyError(OSError):
    """The server closed the connection instead of answering."""


class BadReplyError(OSError):
    """The reply is not SMTP."""


class LookupTimeoutError(TimeoutError):
    """The host name was not resolved in time."""


def host_name() -> str:
    """Return this machine's full host name, "" if it has none. Many servers refuse a name without a dot in EHLO."""
    name = socket.gethostname().strip(".")
    return name if _FULL_NAME.fullmatch(name) and not name.startswith("localhost.") else ""


def open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a connected TCP socket. Tries each address of the host with an equal share of the remaining time.

    Raises socket.gaierror, LookupTimeoutError, TimeoutError or OSError (the last address's).
    """
    addresses = _resolve(host, port, deadline)
    failure: OSError = OSError(f"{host} has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        share = deadline.require() / (len(addresses) - position)
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(share)
            sock.connect(address)
        except OSError as exc:
            sock.close()
            failure = exc
        else:
            sock.settimeout(deadline.require())
            return sock
    raise failure


def _resolve(host: str, port: int, deadline: Deadline) -> Sequence[tuple[Any, ...]]:
    """Return the addresses of a host name. getaddrinfo takes no timeout, so it runs on a thread that may outlive us."""
    host = host.strip("[]")
    if _is_literal(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    results: list[Sequence[tuple[Any, ...]] | Exception] = []

    def look_up() -> None:
        try:
            results.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:
            results.append(exc)

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(deadline.require())
    if not results:
        raise LookupTimeoutError(f"looking up {host} took too long")
    if isinstance(results[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is not a host name")
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ReplyReader:
    """Reads reply lines: each read is limited by the deadline, all reads of a reply by its size."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._deadline = Deadline(0.0)
        self._buffer = b""
        self._reply_bytes = 0

    @property
    def has_unread(self) -> bool:
        """Whether the server sent unrequested data: more than the lines that were read."""
        return bool(self._buffer)

    def begin_reply(self, deadline: Deadline) -> None:
        """Limit the next reply by `deadline` and by its size."""
        self._deadline, self._reply_bytes = deadline, 0

    def readline(self) -> bytes:
        """Return a line, or the first LINE_LIMIT bytes of a longer one; b"" if the server closed the connection."""
        while b"\n" not in self._buffer and len(self._buffer) < LINE_LIMIT:
            if self._reply_bytes >= REPLY_LIMIT:
                raise ReplyTooLongError("the reply doesn't end")
            self._sock.settimeout(self._deadline.require())
            received = self._sock.recv(LINE_LIMIT)
            if not received and self._buffer:
                raise ReplyCutError("the reply ends in the middle of a line")
            if not received:
                return b""
            self._buffer += received
            self._reply_bytes += len(received)
        end = self._buffer.find(b"\n", 0, LINE_LIMIT) + 1 or LINE_LIMIT
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def close(self) -> None:
        """Do nothing: smtplib closes the socket itself."""


class SmtpConnection(smtplib.SMTP):
    """smtplib, with a deadline for all reads and writes together and a strict check of every reply.

    This class is the only place that hooks into smtplib. smtplib's own timeout applies to each single read, and its
    `getreply` accepts replies that are cut off or contradict themselves. The hooks rely on undocumented behaviour:

    - `ehlo`, `helo`, `docmd` and `rset` write only by `send` and read only by `getreply`: both are replaced here.
    - `sock` and `file` are None before there is a connection, and `close` closes both. `file` is read only here.
    - `helo_resp`, `ehlo_resp`, `esmtp_features` and `does_esmtp` hold the answer to EHLO.

    CPython 3.11 to 3.14: https://github.com/python/cpython/blob/3.11/Lib/smtplib.py. tests/test_library_contracts.py
    fails when one of these changes.
    """

    def __init__(self, hello: str, deadline: Deadline) -> None:
        # smtplib would look up a missing name in DNS.
        super().__init__(local_hostname=hello or host_name() or "localhost")
        self._has_name = bool(hello or host_name())
        self.deadline = deadline

    def open(self, host: str, port: int) -> None:
        """Connect, without reading the greeting. Without a full host name, EHLO names the address (RFC 5321, 4.1.4)."""
        self.sock = open_socket(host, port, self.deadline)
        if not self._has_name:
            address = str(self.sock.getsockname()[0]).partition("%")[0]
            self.local_hostname = f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Start TLS, and forget everything that the server sent before it (RFC 3207, 4.2)."""
        assert self.sock is not None
        self.file = None
        self.sock.settimeout(self.deadline.require())
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    @property
    def is_encrypted(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    @property
    def tls_version(self) -> str:
        """The version of TLS, "" without encryption."""
        return (self.sock.version() or "") if isinstance(self.sock, ssl.SSLSocket) else ""

    @property
    def has_read_reply(self) -> bool:
        """Whether anything was read on this connection, or since TLS started."""
        return self.file is not None

    @property
    def has_unread_reply(self) -> bool:
        """Whether the server answered without a command. The next command would take that answer for its own."""
        return self.file is not None and bool(self.file.has_unread)

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and the server has neither closed it nor sent unrequested data."""
        if self.sock is None or self.has_unread_reply:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def send(self, s: str | bytes | bytearray | memoryview) -> None:  # type: ignore[override]
        """Send under the deadline. An exception of the socket passes unchanged."""
        if self.sock is None:
            raise NoReplyError("the connection is closed")
        if self.has_unread_reply:
            raise BadReplyError("the server answers before it is asked")
        self.sock.settimeout(self.deadline.require())
        self.sock.sendall(s.encode(self.command_encoding) if isinstance(s, str) else s)

    def getreply(self) -> tuple[int, bytes]:
        """Return the code and text of a complete reply, whose lines all have the same code."""
        if self.sock is None:
            raise NoReplyError("the connection is closed")
        if self.file is None:
            self.file = ReplyReader(self.sock)
        self.file.begin_reply(self.deadline)
        lines: list[bytes] = []
        code, separator = 0, b"-"
        while separator == b"-":
            line = self.file.readline()
            match = _REPLY_LINE.fullmatch(line.rstrip(b"\r\n"))
            if not line:
                raise NoReplyError("the server closed the connection")
            if match is None or (lines and int(match[1]) != code):
                # Neither truncated nor escaped: the redactor must recognize a secret in it.
                raise BadReplyError(f"not an SMTP reply: {decode_reply(line)}")
            code, separator = int(match[1]), match[2]
            lines.append(match[3].strip())
        return code, b"\n".join(lines)


def decode_reply(reply: bytes) -> str:
    return reply.decode("utf-8", "replace")
