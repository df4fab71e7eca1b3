"""One deadline for a whole attempt, kept by every lookup, connect, read and write of it."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from alertctl.deadline import Deadline as Deadline

REPLY_BYTES = 1 << 20
"""Bytes that one reply may have on the wire, headers and all, before it counts as endless."""


class ReplyTooLongError(OSError):
    """The other side keeps talking."""


class ReplyCutError(OSError):
    """The other side stopped in the middle of a line."""


class NoReplyError(OSError):
    """The other side closed the connection instead of answering."""


class BadReplyError(OSError):
    """What came back is no reply of this protocol."""


class LookupTimeoutError(TimeoutError):
    """The name wasn't resolved in time."""


def open_socket(
    host: str, port: int, deadline: Deadline, options: Iterable[tuple[int, int, int | bytes]] | None = ()
) -> socket.socket:
    """A connected TCP socket. Tries each address of the host, each with its share of the time that is left.

    Raises socket.gaierror, LookupTimeoutError, TimeoutError or OSError (the last address's).
    """
    addresses = _resolve(host, port, deadline)
    failure: OSError = OSError(f"{host} has no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        share = deadline.require() / (len(addresses) - position)
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
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
    """getaddrinfo, which takes no timeout of its own; so a name is looked up on a thread that may be left behind."""
    host = host.strip("[]")
    if _is_literal(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: list[Sequence[tuple[Any, ...]] | Exception] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:
            found.append(exc)

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(deadline.require())
    if not found:
        raise LookupTimeoutError(f"looking up {host} took too long")
    if isinstance(found[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is no host name")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


class _TimedSocket(io.RawIOBase):
    """The reading end of a socket: each read gets what is left of the deadline, all reads together a byte limit."""

    def __init__(self, sock: socket.socket, deadline: Deadline, allowance: int) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self.deadline = deadline
        self.allowance = allowance
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.allowance <= 0:
            raise ReplyTooLongError("the reply doesn't end")
        self._sock.settimeout(self.deadline.require())
        count = self._raw.readinto(buffer) or 0
        self.allowance -= count
        self.received += count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class ReplyReader(io.BufferedReader):
    """What http.client and smtplib read replies from. A line that ends without a line end is an error, not a line."""

    def __init__(self, sock: socket.socket, deadline: Deadline, allowance: int = REPLY_BYTES) -> None:
        self._timed = _TimedSocket(sock, deadline, allowance)
        super().__init__(self._timed, 16384)
        self._taken = 0
        self.expecting = False
        """Whether the end of the stream would be premature: in the middle of headers."""

    @property
    def unread(self) -> bool:
        """Whether more has come than the lines that were read: nobody asked for it."""
        return self._timed.received > self._taken

    def renew(self, deadline: Deadline, allowance: int = REPLY_BYTES) -> None:
        """The same connection, the next attempt."""
        self._timed.deadline = deadline
        self._timed.allowance = allowance

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(-1 if size is None else size)
        self._taken += len(line)
        if (line or self.expecting) and not line.endswith(b"\n") and len(line) != size:
            raise ReplyCutError("the reply ends in the middle of a line")
        return line
