"""The HTTP client: sends each request once, within a time limit that includes the look-up of the host name.

It follows no redirects, limits the size of replies (also decompressed), always verifies TLS and keeps connections.
The environment names a proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY). Importing this module loads libcurl.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from alertctl import __version__
from alertctl.errors import ConfigError
from alertctl.http.easy_handle import ConnectionOptions, EasyHandle, StreamHandlers
from alertctl.http.errors import HttpError
from alertctl.http.proxies import no_proxy, proxy_for
from alertctl.http.response import Response
from alertctl.http.tls import TrustedCertificates, trusted_certificates

__all__ = ["HttpClient", "Response", "StreamHandlers"]

MAX_BODY = 256 * 1024
"""Bytes of a reply's body that are read, after decompression."""
MAX_IDLE = 30
"""Seconds after which an idle connection is not used again: below the idle limits of common load balancers."""
USER_AGENT = f"alertctl/{__version__}"


class HttpClient:
    """Sends requests. Safe to use from many threads at once, and in a forked child.

    `timeout` is in seconds and covers look-up, connection, TLS, request and reply; `connect_timeout` covers the first
    three. `ca_bundle` is a PEM file that is trusted instead of the system's certificates. `pool_size` is the number of
    kept connections to an origin.
    """

    def __init__(
        self,
        timeout: float = 10.0,
        ca_bundle: str | Path | None = None,
        *,
        connect_timeout: float | None = None,
        pool_size: int = 64,
        max_body: int = MAX_BODY,
        max_idle: int = MAX_IDLE,
    ) -> None:
        self.timeout = timeout
        self._ca_bundle = ca_bundle
        self._connect_timeout, self._pool_size = connect_timeout, pool_size
        self._max_body, self._max_idle = max_body, max_idle
        self._origins: dict[tuple[str, str], _Origin] = {}
        self._lock = threading.Lock()
        _clients.add(self)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float | None = None,
        new_connection: bool = False,
    ) -> Response:
        """Send one request, once. Raises HttpError when no reply came back.

        `new_connection` is for a request that must not fail because the server has just closed a kept connection.
        """
        origin = self._origin(url)
        handle = origin.take()
        seconds = self.timeout if timeout is None else timeout
        try:
            response = handle.request(
                method, url, {"User-Agent": USER_AGENT, **headers}, body, seconds, new_connection=new_connection
            )
        except BaseException:
            handle.close()
            raise
        origin.give_back(handle)
        return response

    def stream(self, url: str, headers: Mapping[str, str], handlers: StreamHandlers) -> Response:
        """GET a stream on a connection of its own, until it ends, falls silent or is stopped.

        Returns its head, or the complete reply if `handlers.opened` rejects it. Raises like `request`.
        """
        handle = self._origin(url).new_handle()
        try:
            return handle.stream(url, {"User-Agent": USER_AGENT, **headers}, handlers)
        finally:
            handle.close()

    def close(self) -> None:
        """Close all kept connections; the client may be used again."""
        for origin in list(self._origins.values()):
            origin.close()

    def forget_connections(self) -> None:
        """Abandon the parent's connections, in a forked child."""
        origins, self._origins, self._lock = self._origins, {}, threading.Lock()
        for origin in origins.values():
            origin.abandon()

    @cached_property
    def _trusted(self) -> TrustedCertificates:
        try:
            return trusted_certificates(self._ca_bundle)
        except ConfigError as error:
            raise HttpError("bad_ca_bundle", str(error)) from None

    def _origin(self, url: str) -> _Origin:
        """Return the connections to the scheme, host and port of `url`. Raises HttpError for an invalid URL."""
        try:
            parts = urlsplit(url)
            known = self._origins.get((parts.scheme, parts.netloc))
            return known or self._new_origin(parts.scheme, parts.netloc, parts.hostname, parts.port)
        except ValueError as exc:
            raise HttpError("bad_url", f"{type(exc).__name__}: {exc}") from None

    def _new_origin(self, scheme: str, netloc: str, host: str | None, _port: int | None) -> _Origin:
        if scheme not in ("http", "https") or not host:
            raise ValueError("an address begins with https:// or http:// and a host")
        proxy = proxy_for(scheme)
        secure = scheme == "https" or (proxy is not None and proxy.url.startswith("https:"))
        options = ConnectionOptions(
            proxy=proxy,
            no_proxy=no_proxy(),
            trusted=self._trusted if secure else None,
            connect_timeout=self._connect_timeout,
            max_body=self._max_body,
            max_idle=self._max_idle,
        )
        with self._lock:
            return self._origins.setdefault((scheme, netloc), _Origin(options, self._pool_size))


class _Origin:
    """The kept connections to an origin. A thread that gets none opens one instead of waiting for another's."""

    def __init__(self, options: ConnectionOptions, pool_size: int) -> None:
        self._options, self._pool_size = options, pool_size
        self._idle: deque[EasyHandle] = deque()

    def new_handle(self) -> EasyHandle:
        return EasyHandle(self._options)

    def take(self) -> EasyHandle:
        try:
            return self._idle.pop()
        except IndexError:
            return self.new_handle()

    def give_back(self, handle: EasyHandle) -> None:
        if len(self._idle) < self._pool_size:
            self._idle.append(handle)
        else:
            handle.close()

    def close(self) -> None:
        # Another thread may take the last handle meanwhile.
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def abandon(self) -> None:
        for handle in self._idle:
            handle.abandon_connection()


_clients: weakref.WeakSet[HttpClient] = weakref.WeakSet()


def _forget_connections() -> None:
    for client in list(_clients):
        client.forget_connections()


os.register_at_fork(after_in_child=_forget_connections)
