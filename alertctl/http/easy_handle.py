"""A libcurl handle and the one connection that it keeps. One thread uses it at a time."""

from __future__ import annotations

import io
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pycurl

from alertctl import __version__
from alertctl.http.errors import HttpError, http_error
from alertctl.http.proxies import Proxy
from alertctl.http.response import BLANK_LINES, Response, final_head
from alertctl.http.tls import TrustedCertificates

QUICK_EXIT = 322
"""CURLOPT_QUICK_EXIT (libcurl 7.87), for which pycurl has no name: closing a handle does not wait for a pending look-up
of a host name."""

UPLOAD_BUFFER = 16 * 1024
"""Bytes of a body that libcurl reads at once."""


@dataclass(frozen=True, slots=True)
class StreamHandlers:
    """The callbacks and limits of a stream.

    `opened` gets the head of a 200 and returns whether the body is the requested stream; `received` gets each chunk of
    the body; `stopped` is called at least once a second. `silence` is the longest time without a byte in seconds,
    `head_timeout` the longest time until the stream is open.
    """

    opened: Callable[[Response], bool]
    received: Callable[[bytes], None]
    stopped: Callable[[], bool]
    silence: float
    head_timeout: float


class EasyHandle:
    """Sends requests to one origin through one proxy, or none."""

    def __init__(
        self,
        *,
        proxy: Proxy | None,
        no_proxy: str,
        trusted: TrustedCertificates | None,
        connect_timeout: float | None,
        max_body: int,
        max_idle: int,
    ) -> None:
        """Times are in seconds, `max_body` is in bytes. `trusted` is None when TLS isn't used."""
        self._proxy, self._max_body = proxy, max_body
        self._lines: list[bytes] = []
        self._body = bytearray()
        self._prepared: tuple[str, str, Mapping[str, str]] | None = None
        self._curl = pycurl.Curl()
        set_option = self._curl.setopt
        set_option(pycurl.NOSIGNAL, 1)
        set_option(QUICK_EXIT, 1)
        set_option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        set_option(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        set_option(pycurl.MAXCONNECTS, 1)
        set_option(pycurl.MAXAGE_CONN, max_idle)
        # The smallest: libcurl's own 64 KB stay allocated in each of the kept handles.
        set_option(pycurl.UPLOAD_BUFFERSIZE, UPLOAD_BUFFER)
        if connect_timeout is not None:
            set_option(pycurl.CONNECTTIMEOUT_MS, _milliseconds(connect_timeout))
        # Decode a reply that is compressed although the request forbids it (see `_header_lines`).
        set_option(pycurl.ACCEPT_ENCODING, "gzip, deflate")
        set_option(pycurl.XFERINFOFUNCTION, _handle_signals)
        set_option(pycurl.HEADERFUNCTION, self._lines.append)
        set_option(pycurl.WRITEFUNCTION, self._receive)
        set_option(pycurl.USERAGENT, f"alertctl/{__version__}")
        set_option(pycurl.PROXY, proxy.url if proxy else "")
        set_option(pycurl.NOPROXY, no_proxy)
        if proxy and proxy.username:
            set_option(pycurl.PROXYUSERNAME, proxy.username)
            set_option(pycurl.PROXYPASSWORD, proxy.password)
        if trusted and (trusted.file or trusted.folder):
            # None replaces the path that libcurl was built with, which may not exist on this machine.
            set_option(pycurl.CAINFO, trusted.file)
            set_option(pycurl.CAPATH, trusted.folder)
            set_option(pycurl.PROXY_CAINFO, trusted.file)
            set_option(pycurl.PROXY_CAPATH, trusted.folder)

    def close(self) -> None:
        self._curl.close()

    def abandon_connection(self) -> None:
        """Replace the socket by /dev/null, in a forked child: closing TLS would end the parent's connection, too."""
        inherited = self._curl.getinfo(pycurl.ACTIVESOCKET)
        if inherited >= 0:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, inherited, inheritable=False)
            os.close(null)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout: float,
        *,
        new_connection: bool = False,
    ) -> Response:
        """Send one request, once. Raises HttpError when no reply came back."""
        self._curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(timeout))
        # Python raises KeyboardInterrupt in the main thread only, and only while it runs Python code.
        self._curl.setopt(pycurl.NOPROGRESS, threading.current_thread() is not threading.main_thread())
        return self._perform(method, url, headers, body, new_connection)

    def stream(self, url: str, headers: Mapping[str, str], handlers: StreamHandlers) -> Response:
        """GET a stream until it ends, breaks off, falls silent or is stopped.

        Returns its head, or the complete reply if `opened` rejects it. Raises HttpError when no reply came back.
        """
        stream = _Stream(handlers, self._lines, self._receive)
        # LOW_SPEED_TIME would end a stream of a few bytes every few seconds.
        self._curl.setopt(pycurl.XFERINFOFUNCTION, stream.check)
        self._curl.setopt(pycurl.NOPROGRESS, False)
        self._curl.setopt(pycurl.HEADERFUNCTION, stream.receive_header)
        self._curl.setopt(pycurl.WRITEFUNCTION, stream.receive)
        try:
            reply = self._perform("GET", url, headers, b"", new_connection=True)
        except HttpError as error:
            raise stream.error or stream.explain(error) from None
        if stream.error is not None:
            raise stream.error
        return reply

    def _perform(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, new_connection: bool
    ) -> Response:
        self._lines.clear()
        self._body.clear()
        # An option takes a third of a microsecond or more, and most requests repeat the previous URL and headers.
        if self._prepared != (method, url, headers):
            self._prepared = None
            self._curl.setopt(pycurl.URL, url.encode())
            self._curl.setopt(pycurl.HTTPHEADER, _header_lines(headers))
            self._curl.setopt(pycurl.HTTPGET if method == "GET" else pycurl.POST, 1)
            self._curl.setopt(pycurl.CUSTOMREQUEST, method)
            self._prepared = (method, url, dict(headers))
        if method != "GET":
            # With POSTFIELDS libcurl would send the body a second time when a kept connection closes without an answer.
            self._curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
            self._curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)
        # libcurl may repeat a request without a body when a kept connection closes, but never on a new connection.
        once = new_connection or (method != "GET" and not body)
        self._curl.setopt(pycurl.FRESH_CONNECT, once or self._closed_by_server())
        try:
            self._curl.perform()
        except pycurl.error as error:
            number, message = error.args
            return self._response(len(body), number, message)
        return self._response(len(body))

    def _closed_by_server(self) -> bool:
        """Return whether the kept connection is readable: the server closed it, or sent unrequested data."""
        descriptor = self._curl.getinfo(pycurl.ACTIVESOCKET)
        if descriptor < 0:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def _receive(self, chunk: bytes) -> int | None:
        self._body += chunk
        # 0 ends the transfer.
        return None if len(self._body) <= self._max_body else 0

    def _response(self, body_size: int, number: int = 0, message: str = "") -> Response:
        """Return the reply, even one whose body is incomplete. Raises HttpError without a complete head."""
        status, limit = self._curl.getinfo(pycurl.RESPONSE_CODE), self._max_body
        head = final_head(self._lines) if status >= 200 else None
        if head is not None:
            status_text, headers = head
            if status_text != b"%d" % status:
                # libcurl reads the digits and ignores other characters after them.
                raise HttpError("bad_reply", "the reply's status is not a number", sent=True)
            truncated = bool(number) or len(self._body) > limit
            return Response(status, headers, bytes(self._body[:limit]), truncated)
        if self._lines and self._lines[-1] not in BLANK_LINES and number in _ENDED:
            raise HttpError("incomplete_reply", "the reply ends in its headers", sent=True)
        number, message = number or pycurl.E_GOT_NOTHING, message or "the connection was closed without an answer"
        raise http_error(self._curl, number, message, body_size, self._proxy.url if self._proxy else "")


class _Stream:
    """libcurl's callbacks for a stream. `error` is an exception of a handler, which pycurl would only print."""

    def __init__(
        self, handlers: StreamHandlers, lines: list[bytes], receive_body: Callable[[bytes], int | None]
    ) -> None:
        self._handlers = handlers
        self._lines = lines
        self._receive_body = receive_body
        self._open = False
        self.error: Exception | None = None
        self._last_byte = time.monotonic()

    def receive_header(self, line: bytes) -> int | None:
        self._lines.append(line)
        head = final_head(self._lines) if line in BLANK_LINES and not self._open else None
        if head is None or head[0] != b"200":
            return None
        return self._guard(lambda: self._begin(Response(200, head[1], b"")))

    def _begin(self, head: Response) -> None:
        self._open = self._handlers.opened(head)

    def receive(self, chunk: bytes) -> int | None:
        if not self._open:
            return self._receive_body(chunk)
        return self._guard(lambda: self._handlers.received(chunk))

    def _guard(self, handle: Callable[[], None]) -> int | None:
        """Call `handle`. Return None to continue the transfer, 0 to end it after an error."""
        try:
            handle()
        except Exception as error:
            self.error = error
            return 0
        self._last_byte = time.monotonic()
        return None

    def check(self, *_: int) -> int:
        """Return 1 to end the transfer. libcurl calls this at least once a second."""
        return int(self._handlers.stopped() or self._is_late())

    def explain(self, error: HttpError) -> HttpError:
        """Return the cause if `check` ended the transfer, else `error`."""
        if self._handlers.stopped():
            return HttpError("closing", "it was stopped", sent=True)
        return HttpError("timeout", f"nothing within {self._limit:g} s", sent=error.sent) if self._is_late() else error

    @property
    def _limit(self) -> float:
        return self._handlers.silence if self._open else self._handlers.head_timeout

    def _is_late(self) -> bool:
        return time.monotonic() - self._last_byte > self._limit


_ENDED = (0, pycurl.E_GOT_NOTHING, pycurl.E_PARTIAL_FILE)
"""libcurl's results for a connection that the server closed in an orderly way, even within the headers."""


def _header_lines(headers: Mapping[str, str]) -> list[bytes]:
    """Return the header lines. Raises HttpError for a control character, which could add a header."""
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
    if not all(map(str.isprintable, lines)):
        raise HttpError("bad_request", "a control character in the request's headers")
    # Otherwise libcurl requests compression, and sends `Expect: 100-continue` before a large body.
    return [*(line.encode("latin-1", "replace") for line in lines), b"Accept-Encoding: identity", b"Expect:"]


def _milliseconds(seconds: float) -> int:
    """Return at least 1, because 0 means no limit to libcurl. Raises HttpError when no time remains."""
    if seconds <= 0:
        raise HttpError("timeout", "the time limit has passed before the request was sent")
    return max(1, int(seconds * 1000))


def _handle_signals(*_: int) -> None:
    """Do nothing. Python handles signals whenever it runs Python code, so also for this call."""
