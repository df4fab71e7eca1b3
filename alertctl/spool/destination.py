"""The database or server that an event was meant for: an event for one must not be published to another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alertctl.config import Value
from alertctl.config.database_url import database_url, default_url, masked
from alertctl.config.folder_trust import refuse_addresses
from alertctl.config.sources import is_blank
from alertctl.config.urls import server_root, url
from alertctl.errors import ConfigError

UNRESOLVED = "the destination that {setting} names"
"""The address of an event whose settings named no usable destination."""
_SETTINGS = ("ALERTCTL_SERVER", "DATABASE_URL")
_FILES = ("ALERTCTL_CONFIG", ".env")


@dataclass(frozen=True, slots=True)
class Destination:
    """A database, or a server with the SHA-256 of the token for it. `address` contains no secret.

    `setting` is the setting that names it, empty for the default database.
    """

    address: str
    is_server: bool
    caller: str | None = None
    setting: str = ""

    def accepts(self, address: str) -> bool:
        """Return whether an event that was spooled for `address` belongs here.

        An event whose ALERTCTL_SERVER or DATABASE_URL was unusable belongs to the destination that the same setting
        names later, and never to the default database.
        """
        unresolved = [UNRESOLVED.format(setting=name) for name in (self.setting, *_FILES) if name]
        return address in (self.address, *unresolved)

    @staticmethod
    def of(values: Mapping[str, Value], environ: Mapping[str, str]) -> Destination:
        """Return the destination that these settings name (see `config.read`). Raises ConfigError."""
        server, token, link = (_text(values, name) for name in ("ALERTCTL_SERVER", "ALERTCTL_TOKEN", "DATABASE_URL"))
        setting = "ALERTCTL_SERVER" if server else "DATABASE_URL"
        try:
            if server:
                return Destination(server_root(url(server)), True, caller_of(token) if token else None, setting)
            address = database_address(database_url(link or default_url(environ)))
        except ValueError as error:
            raise ConfigError([f"{setting}: {error}"]) from None
        return Destination(address, False, setting=setting if link else "")

    @staticmethod
    def best_known(values: Mapping[str, Value], problems: Sequence[str], environ: Mapping[str, str]) -> Destination:
        """Return the same for settings that may be wrong. `problems` are those of `config.read_readable`.

        An address that the working folder may not set doesn't count. When the settings name no usable destination,
        the event waits until they do.
        """
        refused = refuse_addresses(values, environ)
        values = {name: value for name, value in values.items() if name not in refused}
        names = {problem.partition(":")[0].removesuffix("_FILE") for problem in problems}
        unread = next((name for name in (*_SETTINGS, *_FILES) if name in names), None)
        if unread in _FILES and any(_text(values, name) for name in _SETTINGS):
            unread = None
        server, token = _text(values, "ALERTCTL_SERVER"), _text(values, "ALERTCTL_TOKEN")
        try:
            if unread is None:
                return Destination.of(values, environ)
        except ConfigError:
            unread = "ALERTCTL_SERVER" if server else "DATABASE_URL"
        is_server = unread == "ALERTCTL_SERVER"
        caller = caller_of(token) if is_server and token else None
        return Destination(UNRESOLVED.format(setting=unread), is_server, caller)


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
