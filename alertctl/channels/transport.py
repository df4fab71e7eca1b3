"""How an HTTP request travels: one POST per attempt, on a kept connection, within one deadline.

The SDKs' own HTTP is not used: it makes a new connection and TLS context for every call, follows redirects with
the bearer token, posts again after a lost reply, and can be held up for ever by a slow answer.
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Url, parse_url

from alertctl import __version__
from alertctl.channels.deadline import Deadline
from alertctl.channels.exchange import Answer, Connection, Reply, TlsConnection
from alertctl.channels.network_errors import Stage, network_error
from alertctl.channels.proxies import proxy_for, through
from alertctl.errors import ConfigError, DeliveryError, Reason

WAYS = 100
"""Addresses that are remembered: providers have a few each."""


class Transport:
    """Carries requests. Safe to use from many threads at once.

    `deadline` is in seconds and covers all of an attempt: lookup, connect, TLS, request, reply. `ca_bundle` is a PEM
    file that is trusted instead of the system's certificates. `pool` is how many connections to one host are kept.
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are read when an address is first used.
    """

    def __init__(self, deadline: float = 10.0, ca_bundle: str | Path | None = None, pool: int = 64) -> None:
        self.deadline = deadline
        self._ca_bundle = ca_bundle
        self._pool = pool
        self._lock = threading.Lock()
        self._carriers: dict[tuple[str, str], _Direct | _Proxied] = {}
        self._ways: dict[str, tuple[_Direct | _Proxied, str, str]] = {}

    def post(self, url: str, headers: Mapping[str, str], body: bytes, *, deadline: Deadline | None = None) -> Reply:
        """One POST. Raises DeliveryError (its detail is not redacted) when no reply came back; never sends twice."""
        return self._request("POST", url, headers, body, deadline or Deadline(self.deadline))

    def get(self, url: str, headers: Mapping[str, str], *, deadline: Deadline | None = None) -> Reply:
        """One GET, under the same rules."""
        return self._request("GET", url, headers, None, deadline or Deadline(self.deadline))

    def close(self) -> None:
        """Close all kept connections; the transport may be used again."""
        for carrier in list(self._carriers.values()):
            carrier.close()

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The TLS context of every connection: certificates and host names are always verified."""
        return tls_context(self._ca_bundle)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Reply:
        try:
            carrier, target, host = self._ways.get(url) or self._way(url)
            head = {"Host": host, "Accept-Encoding": "identity", "User-Agent": _AGENT, **headers}
            return carrier.carry(method, target, head, body, deadline)
        except DeliveryError as error:
            raise error from None
        except ValueError as exc:
            raise DeliveryError(Reason.CONFIG, "bad_url", detail=f"{type(exc).__name__}: {exc}") from None
        except Exception as exc:
            raise network_error(exc, Stage.AFTER) from None

    def _way(self, url: str) -> tuple[_Direct | _Proxied, str, str]:
        """Who carries a request to `url`, what to ask them for, and of which host."""
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("an address begins with https:// or http://")
        parts, proxy = parse_url(url), proxy_for(url)
        if not parts.host:
            raise ValueError("the address has no host")
        host = parts.netloc or ""
        with self._lock:
            key = (parts.scheme or "", proxy or host)
            if key not in self._carriers:
                self._carriers[key] = self._carrier(parts, proxy)
            carrier = self._carriers[key]
            if len(self._ways) >= WAYS:
                self._ways.clear()
            way = carrier, parts.request_uri if isinstance(carrier, _Direct) else url, host
            self._ways[url] = way
            return way

    def _carrier(self, parts: Url, proxy: str | None) -> _Direct | _Proxied:
        """The connections that lead there: direct or through a proxy, with a TLS context (26 ms) only if need be."""
        secure = parts.scheme == "https"
        if proxy is None:
            host = (parts.host or "").strip("[]")
            if secure:
                return _Direct(partial(TlsConnection, host, parts.port or 443, ssl_context=self.context), self._pool)
            return _Direct(partial(Connection, host, parts.port or 80), self._pool)
        options: dict[str, Any] = {"maxsize": self._pool}
        if secure:
            options["ssl_context"] = self.context
        if proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = self.context
        return _Proxied(through(proxy, options))


class _Direct:
    """The kept connections to one server. Who finds none makes one: nobody waits for another's."""

    def __init__(self, make: Callable[[], Connection], most: int) -> None:
        self._make, self._kept = make, deque[Connection]()
        self._most = most

    def carry(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Reply:
        connection = self._taken()
        connection.deadline = deadline
        try:
            connection.request(method, target, body, headers)
            reply = connection.getresponse().reply
        except BaseException:
            connection.close()
            raise
        if len(self._kept) < self._most:
            self._kept.append(connection)
        else:
            connection.close()
        return reply

    def _taken(self) -> Connection:
        try:
            connection = self._kept.pop()
        except IndexError:
            return self._make()
        if not connection.is_connected:
            connection.close()
        return connection

    def close(self) -> None:
        # Another thread may take the last one meanwhile.
        with suppress(IndexError):
            while True:
                self._kept.pop().close()


class _Proxied:
    """Connections through a proxy: urllib3 knows how to ask one."""

    def __init__(self, manager: urllib3.PoolManager) -> None:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._manager = manager

    def carry(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Reply:
        answer = self._manager.urlopen(
            method, target, body=body, headers=headers, retries=False, redirect=False, timeout=_Remaining(deadline)
        )
        assert isinstance(answer, Answer)
        return answer.reply

    def close(self) -> None:
        self._manager.clear()


def tls_context(ca_bundle: str | Path | None = None) -> ssl.SSLContext:
    """A verifying context that trusts `ca_bundle`, else the system. Raises ConfigError for an unusable bundle."""
    try:
        return ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ValueError) as exc:
        raise ConfigError([f"ALERTCTL_CA_BUNDLE: {ca_bundle} can't be read as PEM certificates ({exc})"]) from exc


_AGENT = f"alertctl/{__version__}"


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


class _Pool(HTTPConnectionPool):
    ConnectionCls = Connection  # type: ignore[assignment]


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = TlsConnection  # type: ignore[assignment]
