"""Clients of the delivery log: on the database (LocalClient) or through a server (RemoteClient)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from alertctl.client.local import LocalClient
    from alertctl.client.remote import RemoteClient

__all__ = ["Client", "connect"]

Client: TypeAlias = "LocalClient | RemoteClient"
"""Both have the same methods, which raise only AlertctlError. LocalClient describes them."""


def connect(flags: Mapping[str, object] | None = None, *, tolerate: bool = False) -> Client:
    """Return the client that the settings select; it connects when it is first used. Raises ConfigError.

    `flags` and `tolerate` are those of `config.load`. The database libraries are imported only for a database.
    """
    from alertctl.client.server_config import server_of
    from alertctl.config import read_readable
    from alertctl.errors import ConfigError

    values, problems = read_readable(flags=flags)
    server = server_of(values)
    if problems and (server is not None or not tolerate):
        raise ConfigError(problems)
    if server is not None:
        from alertctl.client.remote import RemoteClient

        return RemoteClient(server)
    from alertctl.client.local import LocalClient
    from alertctl.config import load

    return LocalClient(load(flags=flags, tolerate=tolerate), tolerate=tolerate)
