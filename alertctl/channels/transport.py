"""How an HTTP request travels: one POST per attempt, on a kept connection, within one deadline.

The SDKs' own HTTP is not used: it makes a new connection and TLS context for every call, follows redirects with
the bearer token, posts again after a lost reply, and can be held up for ever by a slow answer.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.errors import MultipartInvariantViolationDefect, StartBoundaryNotFoundDefect
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from alertctl.channels.deadline import Deadline, ReplyReader, open_socket
from alertctl.channels.network_errors import Stage, network_error
from alertctl.errors import ConfigError, DeliveryError, Reason

REPLY_LIMIT = 256 * 1024
"""Bytes of a reply's body that are read, and that a compressed one may grow to."""
IDLE_LIMIT = 30.0
"""Seconds after which a kept connection is not trusted any more: below the idle limits of common load balancers."""
INTERIM_REPLIES = 10
"""1xx replies that are passed over before the real one."""


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


class Transport:
    """Carries requests. Safe to use from many threads at once.

    `deadline` is in seconds and covers all of an attempt: lookup, connect, TLS, request, reply. `ca_bundle` is a PEM
    file that is trusted instead of the system's certificates. `pool` is how many connections to one host are kept.
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are read when a host is first used.
    """

    def __init__(self, deadline: float = 10.0, ca_bundle: str | Path | None = None, pool: int = 64) -> None:
        self.deadline = deadline
        self._ca_bundle = ca_bundle
        self._pool = pool
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._carriers: dict[str, _Carrier] = {}

    def post(self, url: str, headers: Mapping[str, str], body: bytes, *, deadline: Deadline | None = None) -> Reply:
        """One POST. Raises DeliveryError (its detail is not redacted) when no reply came back; never sends twice."""
        return self._request("POST", url, headers, body, deadline or Deadline(self.deadline))

    def get(self, url: str, headers: Mapping[str, str], *, deadline: Deadline | None = None) -> Reply:
        """One GET, under the same rules."""
        return self._request("GET", url, headers, None, deadline or Deadline(self.deadline))

    def close(self) -> None:
        """Close all kept connections; the transport may be used again."""
        for manager in self._managers.values():
            manager.clear()

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The TLS context of every connection: certificates and host names are always verified."""
        return tls_context(self._ca_bundle)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Reply:
        try:
            carrier, target = self._way(url)
            response = carrier.urlopen(
                method,
                target,
                body=body,
                headers={"Accept-Encoding": "identity", **headers},
                retries=False,
                redirect=False,
                timeout=_Remaining(deadline),
                preload_content=False,
                decode_content=False,
            )
        except DeliveryError as error:
            raise error from None
        except ValueError as exc:
            raise DeliveryError(Reason.CONFIG, "bad_url", detail=f"{type(exc).__name__}: {exc}") from None
        except Exception as exc:
            raise network_error(exc, Stage.AFTER) from None
        assert isinstance(response, urllib3.HTTPResponse)
        return _read(response)

    def _way(self, url: str) -> tuple[_Carrier, str]:
        """Who carries a request to `url`, and what to ask them for."""
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("an address begins with https:// or http://")
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._carriers:
            with self._lock:
                manager = self._route(url)
                # A pool needn't look at the whole address again for each request; a proxy must.
                direct = not isinstance(manager, urllib3.ProxyManager)
                self._carriers[origin] = manager.connection_from_url(url) if direct else manager
        carrier = self._carriers[origin]
        return carrier, url if isinstance(carrier, urllib3.PoolManager) else url[len(origin) :] or "/"

    def _route(self, url: str) -> urllib3.PoolManager:
        """The connections that lead to `url`: direct or through a proxy, with a TLS context (26 ms) only if need be."""
        scheme, proxy = urlsplit(url).scheme.lower(), proxy_for(url)
        key = (scheme, proxy or "")
        if key not in self._managers:
            options: dict[str, Any] = {"maxsize": self._pool}
            if scheme == "https":
                options["ssl_context"] = self.context
            manager = self._through(proxy, options) if proxy else urllib3.PoolManager(**options)
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
            self._managers[key] = manager
        return self._managers[key]

    def _through(self, proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
        parts = urllib3.util.parse_url(proxy)
        if parts.auth:
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=unquote(parts.auth))
        if parts.scheme == "https":
            options["proxy_ssl_context"] = self.context
        return urllib3.ProxyManager(parts._replace(auth=None).url, **options)


def tls_context(ca_bundle: str | Path | None = None) -> ssl.SSLContext:
    """A verifying context that trusts `ca_bundle`, else the system. Raises ConfigError for an unusable bundle."""
    try:
        return ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ValueError) as exc:
        raise ConfigError([f"ALERTCTL_CA_BUNDLE: {ca_bundle} can't be read as PEM certificates ({exc})"]) from exc


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this address, unless NO_PROXY exempts its host."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
        parts.netloc.rpartition("@")[2], proxies
    ):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_Carrier = urllib3.PoolManager | HTTPConnectionPool


class _Remaining(urllib3.Timeout):
    """A timeout that is not an allowance for each step but what is left of one deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def clone(self) -> _Remaining:
        return self

    def start_connect(self) -> float:
        return 0.0

    @property
    def connect_timeout(self) -> float:
        return self.deadline.left()

    @property
    def read_timeout(self) -> float:
        return self.deadline.left()


_HARMLESS = (StartBoundaryNotFoundDefect, MultipartInvariantViolationDefect)
"""What the parser says of every multipart type, because it sees no body."""


class _Response(http.client.HTTPResponse):
    """Reads under the deadline, and passes over every 1xx reply (http.client only over 100)."""

    def __init__(self, sock: socket.socket, deadline: Deadline, method: str | None) -> None:
        super().__init__(sock, method=method)
        self.fp.close()
        self._reader = self.fp = ReplyReader(sock, deadline)

    def begin(self) -> None:
        """Headers that don't parse, or end too soon, are no reply; urllib3 would take what it can, and log the rest."""
        super().begin()
        self._reader.expecting = False
        unparsed = not self.msg.is_multipart() and self.msg.get_payload()
        if unparsed or any(type(defect) not in _HARMLESS for defect in self.msg.defects):
            raise http.client.HTTPException("the reply's headers can't be parsed")

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(INTERIM_REPLIES):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            self._reader.expecting = True
            if not 100 <= status < 200:
                return version, status, reason
            self._pass_over_headers()
        raise http.client.HTTPException("too many interim replies")

    def _pass_over_headers(self) -> None:
        for _ in range(100):
            line = self.fp.readline(65537)
            if line in (b"\r\n", b"\n"):
                self._reader.expecting = False
                return
        raise http.client.HTTPException("an interim reply's headers don't end")


class _Deadlined(HTTPConnection):
    """A connection that spends one deadline on everything it does and says how far it got when it fails."""

    deadline = Deadline(0)
    incomplete = False
    last_used = 0.0
    _pieces: list[bytes] | None = None
    """The parts of a request that http.client would send as packets of their own."""

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
    ) -> _Response:
        return _Response(sock, self.deadline, method)

    def _new_conn(self) -> socket.socket:
        return open_socket(self._dns_host, self.port, self.deadline, self.socket_options)

    def connect(self) -> None:
        try:
            super().connect()
        except Exception as exc:
            raise network_error(exc, Stage.BEFORE, connecting=True) from None

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, in one piece. When that breaks off, the server may still have answered (a 413, say)."""
        self.incomplete = False
        self._pieces = []
        try:
            super().request(*args, **kwargs)
            request, self._pieces = b"".join(self._pieces), None
            self.send(request)
        except DeliveryError:
            raise
        except (TimeoutError, ValueError) as exc:
            raise network_error(exc, Stage.BEFORE) from None
        except OSError:
            self.incomplete = True

    def send(self, data: Any) -> None:
        if self._pieces is not None:
            self._pieces.append(data)
            return
        if self.sock is not None:
            self.sock.settimeout(self.deadline.require())
        super().send(data)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        try:
            response = super().getresponse()
        except Exception as exc:
            raise network_error(exc, Stage.BEFORE if self.incomplete else Stage.AFTER) from None
        self.last_used = time.monotonic()
        return response


class _DeadlinedTls(_Deadlined, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Deadlined


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _DeadlinedTls


def _read(response: urllib3.HTTPResponse) -> Reply:
    """Read at most 256 kB; the connection is kept only if that was all."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    chunks: list[bytes] = []
    complete = True
    try:
        for chunk in _chunks(response):
            chunks.append(chunk)
    except Exception:
        complete = False
    body, grown = _decoded(b"".join(chunks), headers.get("content-encoding", ""))
    truncated = not complete or grown or len(body) > REPLY_LIMIT
    if truncated:
        response.close()
    response.release_conn()
    return Reply(response.status, headers, body[:REPLY_LIMIT], truncated)


def _chunks(response: urllib3.HTTPResponse) -> Iterator[bytes]:
    """The raw body in pieces, one byte more than the limit at most."""
    allowed = REPLY_LIMIT + 1
    while allowed > 0 and (chunk := response.read(min(allowed, 65536), decode_content=False)):
        allowed -= len(chunk)
        yield chunk
        if response.length_remaining == 0:
            return


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
