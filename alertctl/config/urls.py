"""Validators of hosts and URLs, and the networks that they lead to. Nothing is looked up."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from alertctl.addresses import ascii_domain
from alertctl.config.validators import quoted


def host(value: object) -> str:
    """Return a host name (ASCII, as in DNS) or an IP address, without scheme and port. Empty stays empty."""
    name = value.strip() if isinstance(value, str) else None
    if name is None or not (name == "" or _is_host(name.strip("[]"))):
        raise ValueError(f"{quoted(value)} is not a host (a name or an IP address, without scheme and port)")
    try:
        return ascii_domain(name.strip("[]"))
    except ValueError as error:
        raise ValueError(f"{quoted(value)} {error}") from None


def _is_host(name: str) -> bool:
    if ":" in name:
        return _ip(name) is not None
    return bool(re.fullmatch(r"[\w.-]{1,253}", name))


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Return whether a host is this machine's loopback. Nothing is looked up."""
    ip = _ip(name.strip("[]"))
    return ip.is_loopback if ip else name.lower().rstrip(".").split(".")[-1] == "localhost"


_PRIVATE_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"),
    )
)
_PRIVATE_SUFFIXES = ("svc", "internal", "local")


def network_of(host: str) -> Literal["loopback", "private", "public"]:
    """Return the kind of network that a host is in, judging by its name or address. Nothing is looked up.

    A name without a dot, or below `.svc`, `.internal` or `.local`, is private.
    """
    name = host.strip("[]").rstrip(".").lower()
    ip = _ip(name.partition("%")[0])
    if ip is None and re.match(r"[0-9]", name):
        try:
            # Resolvers read 134744072 and 0x8080808 as 8.8.8.8.
            ip = ipaddress.ip_address(socket.inet_aton(name))
        except OSError:
            pass
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip is not None:
        is_private = any(ip in network for network in _PRIVATE_NETWORKS)
        return "loopback" if ip.is_loopback else "private" if is_private else "public"
    if is_loopback(name):
        return "loopback"
    last_label = name.rpartition(".")[2]
    return "private" if "." not in name or last_label in _PRIVATE_SUFFIXES else "public"


IN_CLEAR = "uses http, which sends the token unencrypted; use https"


def sends_in_clear(link: str) -> Literal["public", "private"] | None:
    """Return the kind of network to which this URL sends a token unencrypted, None for https and for loopback."""
    parts = split_url(link)
    if parts is None or parts.scheme != "http":
        return None
    network = network_of(parts.hostname or "")
    return None if network == "loopback" else network


def url(value: object) -> str:
    """Return an http(s) URL without user, query, fragment and slashes at its end. Empty stays empty."""
    link = value.strip() if isinstance(value, str) else None
    if link is None or not (link == "" or _is_http_url(link)):
        raise ValueError(f"{quoted(value)} is not an http:// or https:// address (without password and query)")
    return link.rstrip("/")


def https_url(value: object) -> str:
    """Return an https URL, with its query. Empty stays empty."""
    link = value.strip() if isinstance(value, str) else None
    if link is None or (link and not (link.startswith("https://") and _is_http_url(link.partition("?")[0]))):
        raise ValueError(f"{quoted(value)} is not an https:// address")
    return link


ROUTES = "/api/v1/notifications"
"""The path of a server's routes. Here, because importing `api` takes a third of a second."""


def server_root(address: str) -> str:
    """Return a server's address without trailing slashes and without ROUTES, which people paste with it."""
    return address.strip().rstrip("/").removesuffix(ROUTES)


def _is_http_url(link: str) -> bool:
    if not link.isprintable() or re.search(r"[\s\\<>\"]", link):
        return False
    parts = split_url(link)
    if parts is None or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return parts.scheme in {"http", "https"} and _is_host(parts.hostname or " ")


def split_url(link: str) -> SplitResult | None:
    """Return the parts of a URL, None when its port or its brackets are wrong."""
    try:
        parts = urlsplit(link)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None
