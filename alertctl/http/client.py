"""The HTTP client: sends each request once, within a time limit that includes the look-up of the host name.

It follows no redirects, limits the size of replies (also decompressed), always verifies TLS and keeps connections.
The environment names a proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY). Importing this module loads libcurl.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from alertctl.errors import ConfigError
from alertctl.http.easy_handle import EasyHandle, StreamHandlers
from alertctl.http.errors import HttpError
from alertctl.http.proxies import no_proxy, proxy_for
from alertctl.http.response import Response
from alertctl.http.tls import TrustedCertificates, trusted_certificates

__all__ = ["HttpClient", "Response", "StreamHandlers"]

MAX_BODY = 256 * 1024
"""Bytes of a reply's body that are read, after decompression."""
MAX_IDLE = 30
"""Seconds after which an idle connection is not used again: below the idle limits of common load balancers."""


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
        self._idle: dict[tuple[str, str], deque[EasyHandle]] = {}
        """The kept connections by scheme and host. A thread that finds none opens one instead of waiting."""
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
        idle = self._idle_handles(url)
        try:
            handle = idle.pop()
        except IndexError:
            handle = self._new_handle(url)
        seconds = self.timeout if timeout is None else timeout
        try:
            response = handle.request(method, url, headers, body, seconds, new_connection=new_connection)
        except BaseException:
            handle.close()
            raise
        if len(idle) < self._pool_size:
            idle.append(handle)
        else:
            handle.close()
        return response

    def stream(self, url: str, headers: Mapping[str, str], handlers: StreamHandlers) -> Response:
        """GET a stream on a connection of its own, until it ends, falls silent or is stopped.

        Returns its head, or the complete reply if `handlers.opened` rejects it. Raises like `request`.
        """
        self._idle_handles(url)
        handle = self._new_handle(url)
        try:
            return handle.stream(url, headers, handlers)
        finally:
            handle.close()

    def close(self) -> None:
        """Close all kept connections; the client may be used again."""
        for handles in list(self._idle.values()):
            # Another thread may take the last handle meanwhile.
            with suppress(IndexError):
                while True:
                    handles.pop().close()

    def forget_connections(self) -> None:
        """Abandon the parent's connections, in a forked child."""
        idle, self._idle = self._idle, {}
        for handles in idle.values():
            for handle in handles:
                handle.abandon_connection()

    @cached_property
    def _trusted(self) -> TrustedCertificates:
        try:
            return trusted_certificates(self._ca_bundle)
        except ConfigError as error:
            raise HttpError("bad_ca_bundle", str(error)) from None

    def _idle_handles(self, url: str) -> deque[EasyHandle]:
        """Return the kept connections to the scheme, host and port of `url`. Raises HttpError for an invalid URL."""
        try:
            parts = urlsplit(url)
            known = self._idle.get((parts.scheme, parts.netloc))
            # `port` raises ValueError when it is out of range.
            if known is None and (parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0):
                raise ValueError("an address begins with https:// or http:// and a host")
        except ValueError as exc:
            raise HttpError("bad_url", f"{type(exc).__name__}: {exc}") from None
        return self._idle.setdefault((parts.scheme, parts.netloc), deque()) if known is None else known

    def _new_handle(self, url: str) -> EasyHandle:
        scheme = urlsplit(url).scheme
        proxy = proxy_for(scheme)
        secure = scheme == "https" or (proxy is not None and proxy.url.startswith("https:"))
        return EasyHandle(
            proxy=proxy,
            no_proxy=no_proxy(),
            trusted=self._trusted if secure else None,
            connect_timeout=self._connect_timeout,
            max_body=self._max_body,
            max_idle=self._max_idle,
        )


_clients: weakref.WeakSet[HttpClient] = weakref.WeakSet()


def _forget_connections() -> None:
    for client in list(_clients):
        client.forget_connections()


os.register_at_fork(after_in_child=_forget_connections)
