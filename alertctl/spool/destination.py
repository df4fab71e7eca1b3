"""The database or server that an event was meant for: an event for one must not be published to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from alertctl.config import Sources, Value
from alertctl.config.database_url import database_url, default_url, masked
from alertctl.config.folder_trust import refuse_addresses
from alertctl.config.folders import absolute_path
from alertctl.config.sources import is_blank
from alertctl.config.urls import server_root, url
from alertctl.errors import ConfigError, UnusableDatabase

UNRESOLVED = "the destination that {} names"
"""The address of an event whose settings named no usable destination: a setting's name, or a file's path."""
_SETTINGS = ("ALERTCTL_SERVER", "DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Destination:
    """A database, or a server with the SHA-256 of the token for it. `address` contains no secret.

    `setting` is the setting that names it, empty for the default database. `files` are the settings files.
    """

    address: str
    is_server: bool
    caller: str | None = None
    setting: str = ""
    files: Sequence[str] = ()

    def accepts(self, address: str) -> bool:
        """Return whether an event that was spooled for `address` belongs here.

        An event whose ALERTCTL_SERVER, DATABASE_URL or settings file was unusable belongs to the destination that the
        same setting or file names later.
        """
        return address in (self.address, *(UNRESOLVED.format(name) for name in (self.setting, *self.files) if name))

    @staticmethod
    def of(sources: Sources, environ: Mapping[str, str]) -> Destination:
        """Return the destination that these settings name. Raises ConfigError."""
        # Versions before 0.3 spooled under the file's name instead of its path.
        values, files = sources.values, (*sources.files, *sources.files.values())
        server, token, link = (_text(values, name) for name in ("ALERTCTL_SERVER", "ALERTCTL_TOKEN", "DATABASE_URL"))
        setting = "ALERTCTL_SERVER" if server else "DATABASE_URL"
        try:
            if server:
                caller = caller_of(token) if token else None
                return Destination(server_root(url(server)), True, caller, setting, files)
            address = database_address(database_url(link or default_url(environ)))
        except ValueError as error:
            raise ConfigError([f"{setting}: {error}"]) from None
        return Destination(address, False, None, setting if link else "", files)

    @staticmethod
    def best_known(sources: Sources, error: Exception | None, environ: Mapping[str, str]) -> Destination:
        """Return the same for settings that may be wrong: those that could be read, or with which this `error` came.

        An address that the working folder may not set doesn't count if another is set. When the settings name no usable
        destination, the event waits until they do.
        """
        names = _names_in(sources.problems)
        if isinstance(error, ConfigError) and not isinstance(error, UnusableDatabase):
            names |= _names_in(error.problems)
        refused = refuse_addresses(sources.values, environ)
        values = {name: value for name, value in sources.values.items() if name not in refused}
        if any(_text(values, name) for name in _SETTINGS):
            sources, names = replace(sources, values=values), names - refused.keys()
        server, token = _text(sources.values, "ALERTCTL_SERVER"), _text(sources.values, "ALERTCTL_TOKEN")
        if not _text(sources.values, "DATABASE_URL") and "DATABASE_URL" not in _names_in(sources.problems):
            # It is the default database that can't be used.
            names -= {"DATABASE_URL"}
        if server:
            names -= {"DATABASE_URL"}
        unusable = next((name for name in _SETTINGS if name in names), None)
        if unusable is None and not server:
            # The file may name a server, which comes before any database.
            unusable = _faulty_file(sources, names)
        try:
            if unusable is None:
                return Destination.of(sources, environ)
        except ConfigError:
            unusable = "ALERTCTL_SERVER" if server else "DATABASE_URL"
        is_server = unusable == "ALERTCTL_SERVER"
        caller = caller_of(token) if is_server and token else None
        return Destination(UNRESOLVED.format(unusable), is_server, caller)


def caller_of(token: str) -> str:
    """Return the SHA-256 of the token: the caller as the spool and the database store it."""
    import hashlib

    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def database_address(url: str) -> str:
    """Return a database's address without its password; a file's path is made absolute."""
    kind, _, path = url.partition(":///")
    return f"sqlite:///{absolute_path(path)}" if kind.lower() == "sqlite" else masked(url)


def _names_in(problems: Iterable[str]) -> set[str]:
    return {problem.partition(":")[0].removesuffix("_FILE") for problem in problems}


def _faulty_file(sources: Sources, names: set[str]) -> str | None:
    """Return the settings file that may name a destination which these problems hide, None without one."""
    for name, path in sources.files.items():
        if name in names:
            return path
    if sources.table and names:
        from alertctl.config import reference

        # An unknown section or key may be a misspelt one.
        if not names <= {name for name, _, _ in reference()}:
            return sources.files["ALERTCTL_CONFIG"]
    return None


def _text(values: Mapping[str, Value], name: str) -> str:
    return "" if name not in values or is_blank(values[name].raw) else values[name].text.strip()
