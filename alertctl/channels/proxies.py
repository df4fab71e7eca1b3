"""The proxy that the environment names for an address, and connections through it. Its password is never quoted."""

from __future__ import annotations

import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3

from alertctl.config.database import passwords
from alertctl.errors import DeliveryError, Reason

_SHOULD_BE = (
    "a proxy's address is http://user:password@host:port (or https://); "
    "of : / ? # @ in a password write %3A %2F %3F %23 %40"
)


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


def proxy_passwords() -> list[str]:
    """What a proxy that refuses us may repeat to us."""
    return [secret for proxy in urllib.request.getproxies_environment().values() for secret in passwords(proxy)]


def through(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    """Connections through `proxy`; `options` are its pools'. Raises DeliveryError for what is no proxy's address."""
    try:
        parts = urllib3.util.parse_url(proxy)
        if parts.auth:
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=unquote(parts.auth))
        if not parts.host:
            raise ValueError("no host")
        return urllib3.ProxyManager(parts._replace(auth=None).url, **options)
    except ValueError:
        # The exception quotes the address, and with it the password.
        raise DeliveryError(Reason.CONFIG, "bad_proxy_url", detail=_SHOULD_BE) from None
