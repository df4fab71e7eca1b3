"""How a request travels to a server: one try, on a kept connection, within one deadline. Light: http.client only.

TLS is verified, redirects are not followed, a reply's size is bounded, and a server that drips can't stretch the time.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from alertctl.channels.deadline import Deadline, ReplyReader, open_socket
from alertctl.client.server import Server
from alertctl.client.troubles import Lost, lost
from alertctl.config import loopback
from alertctl.errors import ConfigError

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS = 5.0
"""For a lookup, a connection and TLS together: a machine that doesn't answer within it is away."""
REPLY_LIMIT = 64 << 20
"""Bytes of one reply: a thousand users or a hundred deliveries need less than one million."""
IDLE_SECONDS = 3.0
"""After so long a kept connection is not trusted any more: uvicorn closes one after 5 s."""
PIECE = 65536


@dataclass(frozen=True, slots=True)
class Request:
    """`path` begins behind the server's address; `body` is JSON, or nothing."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Carrier:
    """Carries one request after the other to one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parts = urlsplit(server.root)
        self._secure = self._parts.scheme == "https"
        self._context: ssl.SSLContext | None = None
        self._kept: _Connection | None = None
        self._used = 0.0
        self.closed = False

    def close(self) -> None:
        """End it, also in the middle of a request of another thread, which is then lost."""
        self.closed = True
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.cut()

    def exchange(self, request: Request, deadline: Deadline, *, fresh: bool = False) -> Reply:
        """One request and its reply. `fresh`: not on a connection that the server may have given up already.

        Raises Lost when no reply came back, ConfigError for an unusable CA bundle or proxy.
        """
        connection = self._connection(deadline, fresh)
        sent = False
        try:
            sent = self._send(connection, request, deadline)
            response = connection.getresponse()
            body = _read(response)
        except Exception as error:
            self._give_up(connection)
            raise lost(error, sent=sent, seconds=self._server.timeout) from None
        if response.will_close:
            self._give_up(connection)
        self._used = time.monotonic()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def listen(self, request: Request, deadline: Deadline) -> Listening:
        """A request whose reply goes on: its head is read, the rest as it comes. Raises like `exchange`."""
        connection = self._connection(deadline, fresh=True)
        # It is the listener's from now on.
        self._kept = None
        try:
            self._send(connection, request, deadline)
            return Listening(connection, connection.getresponse())
        except Exception as error:
            connection.cut()
            raise lost(error, sent=True, seconds=self._server.timeout) from None

    def _send(self, connection: _Connection, request: Request, deadline: Deadline) -> bool:
        """Whether all of it went out. Whoever hangs up in the middle may have said why: a 413, for one."""
        connection.deadline = deadline
        connection.sock.settimeout(deadline.require())
        path = self._parts.path + request.path
        target = f"{self._parts.scheme}://{self._parts.netloc}{path}" if connection.absolute else path
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **connection.more, **request.headers}
        if self._server.token:
            headers["Authorization"] = f"Bearer {self._server.token}"
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(request.method, target, request.body, headers)
        except ConnectionError:
            return False
        return True

    def _connection(self, deadline: Deadline, fresh: bool) -> _Connection:
        kept = self._kept
        if kept is not None and not fresh and time.monotonic() - self._used < IDLE_SECONDS:
            return kept
        self._give_up(kept)
        connection: _Connection | None = None
        try:
            connection = self._made(Deadline(min(CONNECT_SECONDS, deadline.require())))
            connection.connect()
        except ConfigError:
            raise
        except Exception as error:
            if connection is not None:
                connection.cut()
            raise lost(error, sent=False, seconds=CONNECT_SECONDS) from None
        self._kept = connection
        if self.closed:
            self.close()
            raise Lost("it was closed", hopeless=True)
        return connection

    def _give_up(self, connection: _Connection | None) -> None:
        if connection is not None:
            connection.cut()
        self._kept = None

    def _made(self, deadline: Deadline) -> _Connection:
        host, port = self._parts.hostname or "", self._parts.port or (443 if self._secure else 80)
        proxy = proxy_for(self._server.root)
        at = urlsplit(proxy) if proxy else None
        if at is None:
            return _Connection(host, port, deadline, context=self._tls(), name=host)
        if at.scheme != "http" or not at.hostname:
            raise ConfigError([f"{self._parts.scheme.upper()}_PROXY: should be an http:// address of a proxy"])
        more = {} if at.username is None else {"Proxy-Authorization": _basic(at.username, at.password or "")}
        if self._secure:
            connection = _Connection(at.hostname, at.port or 80, deadline, context=self._tls(), name=host)
            connection.set_tunnel(host, port, more)
            return connection
        connection = _Connection(at.hostname, at.port or 80, deadline)
        connection.absolute, connection.more = True, more
        return connection

    def _tls(self) -> ssl.SSLContext | None:
        """Made once: it takes some 20 ms."""
        if not self._secure:
            return None
        if self._context is None:
            import ssl

            bundle = self._server.ca_bundle
            try:
                self._context = ssl.create_default_context(cafile=bundle or None)
            except (OSError, ValueError) as error:
                raise ConfigError(
                    [f"ALERTCTL_CA_BUNDLE: {bundle} can't be read as PEM certificates ({error})"]
                ) from None
        return self._context


class Listening:
    """A reply that goes on. One thread reads, any other may `cut` it."""

    def __init__(self, connection: _Connection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def piece(self, patience: float) -> bytes:
        """The next bytes, b"" at the end. Raises OSError or HTTPException when none come within `patience` seconds."""
        reader: Any = self._response.fp
        if reader is None:
            return b""
        reader.renew(Deadline(patience), REPLY_LIMIT)
        return self._response.read1(PIECE)

    def whole(self, patience: float) -> Reply:
        """All of it, for a reply that doesn't go on after all."""
        self._connection.deadline = Deadline(patience)
        return Reply(self.status, self.headers, _read(self._response))

    def cut(self) -> None:
        self._connection.cut()


class _Response(http.client.HTTPResponse):
    """Reads under the connection's deadline, and no more than the limit."""

    def __init__(self, sock: socket.socket, deadline: Deadline, method: str | None) -> None:
        super().__init__(sock, method=method)
        self.fp.close()
        self.fp = ReplyReader(sock, deadline, REPLY_LIMIT)


class _Connection(http.client.HTTPConnection):
    """`context` asks for TLS, with the certificate of `name`; through a tunnel if there is one."""

    absolute = False
    """Whether a proxy is to be asked, for whole addresses."""
    more: Mapping[str, str] = {}

    def __init__(
        self, host: str, port: int, deadline: Deadline, *, context: ssl.SSLContext | None = None, name: str = ""
    ) -> None:
        super().__init__(host, port)
        self.deadline = deadline
        # What needs no mention in the Host header.
        self.default_port = 80 if context is None else 443
        self._context, self._name = context, name
        # http.client's own gives each of a host's addresses the whole time, and a lookup any time.
        self._create_connection = self._open

    def _open(self, address: tuple[str, int], *_: Any) -> socket.socket:
        no_delay = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
        return open_socket(address[0], address[1], self.deadline, no_delay)

    def connect(self) -> None:
        super().connect()
        if self._context is not None:
            self.sock.settimeout(self.deadline.require())
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, *_: Any, method: str | None = None
    ) -> _Response:
        return _Response(sock, self.deadline, method)

    def cut(self) -> None:
        """Close it also under a thread that waits for something from it."""
        sock = self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.close()


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body, piece by piece: what a server announces is not what we make room for."""
    pieces = []
    while piece := response.read(PIECE):
        pieces.append(piece)
    if response.length:
        # http.client says nothing of a body that is cut off when it is read in pieces.
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this address, unless NO_PROXY exempts its host."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # As long to import as the rest of this file together.
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    parts = urlsplit(url)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass_environment(parts.netloc.rpartition("@")[2], proxies):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def in_clear(server: Server) -> bool:
    """Whether the token would travel to another machine for everybody on the way to read."""
    parts = urlsplit(server.root)
    return bool(server.token) and parts.scheme == "http" and not loopback(parts.hostname or "")
