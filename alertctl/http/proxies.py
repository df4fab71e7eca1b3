"""The proxy that the environment names. No error message contains its password."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from alertctl.http.errors import HttpError

SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
"""`socks4` and `socks5` look names up on this machine, `socks4a` and `socks5h` leave that to the proxy."""
_FORMAT = (
    "a proxy's address is http://user:password@host:port (or https://, socks5://, socks5h://); "
    "of : / ? # @ in a password write %3A %2F %3F %23 %40"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` is its address without user name and password."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


def proxy_for(scheme: str) -> Proxy | None:
    """Return the proxy for `http` or `https`; libcurl then exempts the hosts of NO_PROXY.

    libcurl itself ignores HTTP_PROXY in upper case, which other programs read. Raises HttpError for an invalid address.
    """
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    # In a CGI script HTTP_PROXY contains the caller's Proxy header.
    values = [os.environ.get(name) for name in names if name != "HTTP_PROXY" or "REQUEST_METHOD" not in os.environ]
    value = next((value for value in values if value), None)
    return _parse(value if "://" in value else f"http://{value}") if value else None


def no_proxy() -> str:
    """Return the hosts, domains and networks (`10.0.0.0/8`) that are reached without the proxy."""
    return os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""


def proxy_passwords() -> list[str]:
    """Return the proxies' passwords, encoded and decoded, to redact them from a proxy's answer."""
    values = (value for name, value in os.environ.items() if name.lower().endswith("_proxy"))
    encoded = [value.rpartition("@")[0].rpartition("://")[2].partition(":")[2] for value in values]
    return [form for password in encoded if password for form in (password, unquote(password))]


def _parse(value: str) -> Proxy:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        # The exception contains the address with the password.
        raise HttpError("bad_proxy_url", _FORMAT) from None
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in SCHEMES or not parts.hostname or extra:
        raise HttpError("bad_proxy_url", _FORMAT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = host if port is None else f"{host}:{port}"
    return Proxy(f"{parts.scheme}://{address}", unquote(parts.username or ""), unquote(parts.password or ""))
