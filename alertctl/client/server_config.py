"""Read the server's address and credentials from the settings, without importing pydantic."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alertctl.config.durations import duration_between
from alertctl.config.folder_trust import refuse_addresses
from alertctl.config.folders import expand_home
from alertctl.config.sources import SecretFile, Value, is_blank, origin_note
from alertctl.config.urls import IN_CLEAR, sends_in_clear, server_root, url
from alertctl.config.validators import credential, quoted, text
from alertctl.errors import ConfigError

TIMEOUT = 30.0
"""Seconds that a call may take, retries included, unless ALERTCTL_TIMEOUT is set."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How to reach an `alertctl serve`: `url` has no slash at the end, `timeout` is in seconds.

    `token_file` is the file that ALERTCTL_TOKEN_FILE names, if the token comes from it.
    """

    url: str
    token: str = field(default="", repr=False)
    timeout: float = TIMEOUT
    ca_bundle: str = ""
    token_file: SecretFile | None = None

    @property
    def root(self) -> str:
        """Return the address without the prefix of the routes."""
        return server_root(self.url)


def server_of(values: Mapping[str, Value]) -> ServerConfig | None:
    """Return the server that these settings name (see `config.read`), None when they name a database.

    Raises ConfigError with one line for each mistake, worded like those of `config.load`. An address that the working
    folder may not set (see `config.folder_trust`) is a mistake.
    """
    if "ALERTCTL_SERVER" not in values or is_blank(values["ALERTCTL_SERVER"].raw):
        return None
    server_values = {name: values[name] for name, _ in _CHECKS.values() if name in values}
    problems = [f"{name}: {refusal.message}" for name, refusal in refuse_addresses(server_values, {}).items()]
    fields = {field: _check_setting(name, check, values, problems) for field, (name, check) in _CHECKS.items()}
    if fields["token"] and sends_in_clear(fields["url"] or "") == "public":
        problems.append(f"ALERTCTL_SERVER: {IN_CLEAR}")
    if problems:
        raise ConfigError(problems)
    fields["token_file"] = values["ALERTCTL_TOKEN"].file if fields["token"] else None
    return ServerConfig(**{field: value for field, value in fields.items() if value is not None})


def current_token(server: ServerConfig) -> str:
    """Return the token that ALERTCTL_TOKEN_FILE holds now, empty without such a file or if it is unusable."""
    try:
        return credential(server.token_file.read()) if server.token_file else ""
    except (OSError, ValueError):
        return ""


def _check_setting(name: str, check: Callable[[object], Any], values: Mapping[str, Value], problems: list[str]) -> Any:
    """Return the setting's value, None when it isn't set or is wrong; adds a mistake to `problems`."""
    value = values.get(name)
    if value is None or is_blank(value.raw):
        return None
    try:
        return check(value.raw)
    except ValueError as error:
        problems.append(f"{name}: {error}{origin_note(value.origin)}")
        return None


def _existing_file(value: object) -> str:
    path = expand_home(text(value))
    if not os.path.isfile(path):
        raise ValueError(f"{quoted(path)} is not a file")
    return path


_CHECKS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "url": ("ALERTCTL_SERVER", url),
    "token": ("ALERTCTL_TOKEN", credential),
    "timeout": ("ALERTCTL_TIMEOUT", duration_between(0.1, 86_400)),
    "ca_bundle": ("ALERTCTL_CA_BUNDLE", _existing_file),
}
