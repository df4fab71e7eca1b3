"""How an HTTP request travels: one POST per attempt, on a kept connection, within one deadline.

The SDKs' own HTTP is not used: it makes a new connection and TLS context for every call, follows redirects with
the bearer token, posts again after a lost reply, and can be held up for ever by a slow answer.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from alertctl import __version__
from alertctl.channels.deadline import Deadline
from alertctl.channels.exchange import Answer, Connection, Reply, TlsConnection
from alertctl.channels.network_errors import Stage, network_error
from alertctl.channels.proxies import proxy_for, through
from alertctl.errors import ConfigError, DeliveryError, Reason


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
        self._carriers: dict[str, tuple[_Carrier, str]] = {}

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
            carrier, target, host = self._way(url)
            answer = carrier.urlopen(
                method,
                target,
                body=body,
                headers={"Host": host, "Accept-Encoding": "identity", "User-Agent": _AGENT, **headers},
                retries=False,
                redirect=False,
                timeout=_Remaining(deadline),
            )
        except DeliveryError as error:
            raise error from None
        except ValueError as exc:
            raise DeliveryError(Reason.CONFIG, "bad_url", detail=f"{type(exc).__name__}: {exc}") from None
        except Exception as exc:
            raise network_error(exc, Stage.AFTER) from None
        assert isinstance(answer, Answer)
        return answer.reply

    def _way(self, url: str) -> tuple[_Carrier, str, str]:
        """Who carries a request to `url`, what to ask them for, and of which host."""
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("an address begins with https:// or http://")
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._carriers:
            with self._lock:
                manager = self._route(url)
                # A pool needn't look at the whole address again for each request; a proxy must.
                direct = not isinstance(manager, urllib3.ProxyManager)
                carrier = manager.connection_from_url(url) if direct else manager
                self._carriers[origin] = carrier, urllib3.util.parse_url(url).netloc or ""
        carrier, host = self._carriers[origin]
        return carrier, url if isinstance(carrier, urllib3.PoolManager) else url[len(origin) :] or "/", host

    def _route(self, url: str) -> urllib3.PoolManager:
        """The connections that lead to `url`: direct or through a proxy, with a TLS context (26 ms) only if need be."""
        scheme, proxy = urlsplit(url).scheme.lower(), proxy_for(url)
        key = (scheme, proxy or "")
        if key not in self._managers:
            options: dict[str, Any] = {"maxsize": self._pool}
            if scheme == "https":
                options["ssl_context"] = self.context
            if proxy and proxy.lower().startswith("https:"):
                options["proxy_ssl_context"] = self.context
            manager = through(proxy, options) if proxy else urllib3.PoolManager(**options)
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
            self._managers[key] = manager
        return self._managers[key]


def tls_context(ca_bundle: str | Path | None = None) -> ssl.SSLContext:
    """A verifying context that trusts `ca_bundle`, else the system. Raises ConfigError for an unusable bundle."""
    try:
        return ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ValueError) as exc:
        raise ConfigError([f"ALERTCTL_CA_BUNDLE: {ca_bundle} can't be read as PEM certificates ({exc})"]) from exc


_Carrier = urllib3.PoolManager | HTTPConnectionPool
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
