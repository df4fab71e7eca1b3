"""What the command line speaks to: this machine's database (LocalClient) or a server (RemoteClient)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertctl.client.protocol import Client

if TYPE_CHECKING:
    from alertctl.config import Settings

__all__ = ["Client", "connect"]


def connect(settings: Settings) -> Client:
    """The client that these settings ask for. Nothing is opened before it is used."""
    from alertctl.client.local import LocalClient

    return LocalClient(settings)
