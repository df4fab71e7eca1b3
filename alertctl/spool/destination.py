"""The database or server that an event was meant for: an event for one must not be published to another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from alertctl.config import Value
from alertctl.config.database_url import database_url, default_url, masked
from alertctl.config.sources import is_blank
from alertctl.config.validators import looks_secret, server_root
from alertctl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Destination:
    """A database, or a server with the SHA-256 of the token for it. `address` contains no secret."""

    address: str
    is_server: bool
    caller: str | None = None

    @staticmethod
    def of(values: Mapping[str, Value], environ: Mapping[str, str]) -> Destination:
        """Return the destination that these settings name (see `config.read`). Raises ConfigError."""
        server, token, url = (_text(values, name) for name in ("ALERTCTL_SERVER", "ALERTCTL_TOKEN", "DATABASE_URL"))
        if server:
            return Destination(_server_address(server), True, caller_of(token) if token else None)
        try:
            return Destination(database_address(database_url(url or default_url(environ))), False)
        except ValueError as error:
            raise ConfigError([f"DATABASE_URL: {error}"]) from None

    @staticmethod
    def best_known(values: Mapping[str, Value], environ: Mapping[str, str]) -> Destination:
        """Return the same, but the default database when the settings name no usable one."""
        try:
            return Destination.of(values, environ)
        except ConfigError:
            pass
        try:
            return Destination(database_address(default_url(environ)), False)
        except ConfigError:
            return Destination("unknown", False)


def _server_address(server: str) -> str:
    """Return the server's address, also an unusable one, but never a secret that was put into the wrong variable."""
    root = server_root(server)
    return "ALERTCTL_SERVER" if looks_secret(root) else root


def caller_of(token: str) -> str:
    """Return the SHA-256 of the token: the caller as the spool and the database store it."""
    import hashlib

    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def database_address(url: str) -> str:
    """Return a database's address without its password; a file's path is made absolute."""
    kind, _, path = url.partition(":///")
    if kind.lower() != "sqlite":
        return masked(url)
    try:
        return f"sqlite:///{os.path.abspath(path)}"
    except FileNotFoundError:
        # The working folder was removed.
        return f"sqlite:///{path}"


def _text(values: Mapping[str, Value], name: str) -> str:
    return "" if name not in values or is_blank(values[name].raw) else values[name].text.strip()
