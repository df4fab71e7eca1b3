"""Where an event was meant to go: what waits for one database must not be told to another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from alertctl.config import Value
from alertctl.config.database_url import database_url, default_url, masked
from alertctl.config.sources import blank
from alertctl.config.validators import looks_secret, server_root
from alertctl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Destination:
    """A database, or a server with the SHA-256 of the token for it. `place` is its address, without any secret."""

    place: str
    is_server: bool
    caller: str | None = None

    @staticmethod
    def of(values: Mapping[str, Value], environ: Mapping[str, str]) -> Destination:
        """The one that these settings name (see `config.read`). Raises ConfigError."""
        server, token, url = (_text(values, name) for name in ("ALERTCTL_SERVER", "ALERTCTL_TOKEN", "DATABASE_URL"))
        if server:
            return Destination(_server_address(server), True, caller_of(token) if token else None)
        try:
            return Destination(place_of(database_url(url or default_url(environ))), False)
        except ValueError as error:
            raise ConfigError([f"DATABASE_URL: {error}"]) from None

    @staticmethod
    def best_known(values: Mapping[str, Value], environ: Mapping[str, str]) -> Destination:
        """The same, but the default database when the settings name no usable one."""
        try:
            return Destination.of(values, environ)
        except ConfigError:
            pass
        try:
            return Destination(place_of(default_url(environ)), False)
        except ConfigError:
            return Destination("unknown", False)


def _server_address(server: str) -> str:
    """The server's address, also one that can't be used. A secret in the wrong variable doesn't reach the disk."""
    root = server_root(server)
    return "ALERTCTL_SERVER" if looks_secret(root) else root


def caller_of(token: str) -> str:
    """Who called, as a spool notes it and as the database knows it: the SHA-256 of the token."""
    import hashlib

    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def place_of(url: str) -> str:
    """A database's address without its password; a file's path is absolute, as commands run in many folders."""
    kind, _, path = url.partition(":///")
    if kind.lower() != "sqlite":
        return masked(url)
    try:
        return f"sqlite:///{os.path.abspath(path)}"
    except FileNotFoundError:
        # The working folder was removed.
        return f"sqlite:///{path}"


def _text(values: Mapping[str, Value], name: str) -> str:
    return "" if name not in values or blank(values[name].raw) else values[name].text.strip()
