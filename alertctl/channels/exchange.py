"""One HTTP request and its reply on one connection, within one deadline.

urllib3 connects, speaks TLS and goes through proxies; httptools reads the reply. `http.client` in between, with its
parser for emails, took two thirds of a request's CPU (440 to 150 us, measured).
"""

from __future__ import annotations

import http.client
import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httptools
from urllib3.connection import HTTPConnection, HTTPSConnection

from alertctl.channels.deadline import (
    REPLY_BYTES,
    BadReplyError,
    Deadline,
    NoReplyError,
    ReplyCutError,
    ReplyReader,
    ReplyTooLongError,
    open_socket,
)
from alertctl.channels.network_errors import Stage, network_error
from alertctl.errors import DeliveryError, Reason

REPLY_LIMIT = 256 * 1024
"""Bytes of a reply's body that are read, and that a compressed one may grow to."""
IDLE_LIMIT = 30.0
"""Seconds after which a kept connection is not trusted any more: below the idle limits of common load balancers."""
INTERIM_REPLIES = 10
"""1xx replies that are passed over before the real one."""
PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are lower-case; `truncated` when the body is longer than 256 kB or was cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text, whatever its charset claims: JSON is UTF-8."""
        return self.body.decode("utf-8", "replace")


class Answer:
    """A reply on its way through urllib3's pool, which asks for these names and sets others."""

    version_string = "HTTP/1.1"
    length_remaining = 0

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.status, self.headers = reply.status, reply.headers


class Connection(HTTPConnection):
    """A connection that spends one deadline on everything it does and says how far it got when it fails."""

    deadline = Deadline(0)
    incomplete = False
    last_used = 0.0
    _armed = 0.0

    @property
    def timeout(self) -> float | None:
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        """urllib3 sets this before every step, to what is left then."""
        self._timeout = seconds
        self.deadline = Deadline(seconds if isinstance(seconds, (int, float)) else 0.0)

    @property
    def is_connected(self) -> bool:
        """False also for a connection that the server closed, or may be about to close, while it was idle."""
        return super().is_connected and time.monotonic() - self.last_used < IDLE_LIMIT

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, *_: Any, method: str | None = None
    ) -> http.client.HTTPResponse:
        """A proxy's answer to CONNECT, which http.client reads."""
        response = http.client.HTTPResponse(sock, method=method)
        response.fp.close()
        response.fp = ReplyReader(sock, self.deadline)
        return response

    def _new_conn(self) -> socket.socket:
        try:
            return open_socket(self._dns_host, self.port, self.deadline, self.socket_options)
        except OSError as exc:
            if self.proxy is None:
                raise
            # Else it would look as if the provider weren't there.
            what = f"the proxy {self._dns_host}:{self.port}: {type(exc).__name__}: {exc}"
            raise DeliveryError(Reason.UNAVAILABLE, "proxy_failed", detail=what) from None

    def connect(self) -> None:
        self._armed = 0.0
        try:
            super().connect()
        except DeliveryError:
            raise
        except Exception as exc:
            raise network_error(exc, Stage.BEFORE, connecting=True) from None

    def request(  # type: ignore[override]
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> None:
        """Send a request, in one piece. When that breaks off, the server may still have answered (a 413, say)."""
        self.incomplete = False
        try:
            request = _head(method, url, headers or {}, body) + (body or b"")
            if self.sock is None:
                self.connect()
            self._arm()
            self.sock.sendall(request)
        except DeliveryError:
            raise
        except (TimeoutError, ValueError) as exc:
            raise network_error(exc, Stage.BEFORE) from None
        except OSError:
            self.incomplete = True

    def getresponse(self) -> Answer:  # type: ignore[override]
        parser = _Parser()
        try:
            self._receive(parser)
        except Exception as exc:
            raise network_error(exc, Stage.BEFORE if self.incomplete else Stage.AFTER) from None
        finally:
            parser.release()
        self.last_used = time.monotonic()
        if not parser.reusable:
            self.close()
        return Answer(parser.reply())

    def _arm(self) -> None:
        """Make what is left of the deadline the socket's own limit. To tell it one lets go of the interpreter lock, for
        which all that send compete: not for a hundredth of the time."""
        left = self.deadline.require()
        if not 0.99 * left <= self._armed <= 1.01 * left:
            self.sock.settimeout(left)
            self._armed = left

    def _receive(self, parser: _Parser) -> None:
        """Read until the reply is whole, or as much of it as there will be. What breaks off in the body is cut."""
        while not parser.over:
            try:
                self._arm()
                parser.feed(self.sock.recv(PIECE))
            except Exception:
                if not parser.has_head:
                    raise
                parser.cut()


class TlsConnection(Connection, HTTPSConnection):
    pass


def _head(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The request line and the headers. Raises ValueError for what would break out of its line."""
    lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    if not all(map(str.isprintable, lines)):
        raise ValueError("a control character in the request's address or headers")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Parser:
    """Takes a reply's bytes as they come. httptools calls the `on_…` methods."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        # RFC 9112, 2.2 and 6.3: a line may end with LF alone; chunked wins over a length.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_chunked_length=True)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._received = self._kept = self._interim = self._status = 0
        self._begun = self._cut = self._more = self._lasts = False
        self.has_head = False
        """Whether the headers are whole: from here on there is an answer, though perhaps not all of it."""
        self.over = False

    def feed(self, data: bytes) -> None:
        """The next bytes, b"" at the end of the stream. Raises BadReplyError, or what the end in the headers means."""
        if not data:
            self._end()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if self.over:
                # More than one reply: nobody asked for the rest.
                self._more = True
                return
            raise BadReplyError(f"not an HTTP reply: {exc}") from None
        if not self.has_head and self._received > REPLY_BYTES:
            raise ReplyTooLongError("the reply's headers don't end")
        if self._kept > REPLY_LIMIT:
            self.cut()

    def _end(self) -> None:
        if not self._begun:
            raise NoReplyError("the connection was closed without an answer")
        if not self.has_head:
            raise ReplyCutError("the reply ends in its headers")
        delimited = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "").lower()
        self._cut, self._more, self.over = delimited, True, True

    def cut(self) -> None:
        """No more will come, or none will be read."""
        self._cut = self.over = True

    def release(self) -> None:
        """End the circle in which httptools' parser and this one refer to each other: it would be garbage for long."""
        self._parser = None

    @property
    def reusable(self) -> bool:
        """Whether the connection is good for another request."""
        return self._lasts and not self._cut and not self._more

    def reply(self) -> Reply:
        body, grown = _decoded(b"".join(self._body), self._headers.get("content-encoding", ""))
        truncated = self._cut or grown or len(body) > REPLY_LIMIT
        return Reply(self._status, self._headers, body[:REPLY_LIMIT], truncated)

    def on_message_begin(self) -> None:
        self._begun, self._more = True, self.over

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.over:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.over or 100 <= status < 200:
            return
        self._status, self.has_head = status, True

    def on_body(self, body: bytes) -> None:
        if not self.over and self._kept <= REPLY_LIMIT:
            self._body.append(body)
            self._kept += len(body)

    def on_message_complete(self) -> None:
        if self.over:
            return
        if self.has_head:
            self.over, self._lasts = True, self._parser.should_keep_alive()
            return
        self._headers.clear()
        self._begun = False
        self._interim += 1
        if self._interim > INTERIM_REPLIES:
            raise BadReplyError("too many interim replies")


def _decoded(body: bytes, encoding: str) -> tuple[bytes, bool]:
    """The body without its gzip or deflate, and whether it is broken or grew beyond the limit on the way."""
    if not body or encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body, False
    inflate = zlib.decompressobj(wbits=47)
    try:
        text = inflate.decompress(body, REPLY_LIMIT + 1)
    except zlib.error:
        return b"", True
    return text, not inflate.eof
