"""Notice secrets that changed in their files (NAME_FILE) while nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping

from alertctl.channels.base import Channel
from alertctl.channels.reloading import ReloadingChannel
from alertctl.daemon.logging import mask_also
from alertctl.dispatcher import Dispatcher

SECRETS_SECONDS = 5
"""How often a daemon looks at the files of its secrets."""


class SecretsJob:
    """After a secret changed: mask it in the log, and probe the provider if it refused the old one."""

    def __init__(self, channels: Mapping[str, Channel], dispatcher: Dispatcher) -> None:
        self._channels = {name: channel for name, channel in channels.items() if isinstance(channel, ReloadingChannel)}
        self._versions = dict.fromkeys(self._channels, 0)
        self._dispatcher = dispatcher

    def __call__(self) -> None:
        for name, channel in self._channels.items():
            channel.refresh()
            if self._versions[name] != channel.version:
                self._versions[name] = channel.version
                mask_also(channel.secrets())
                self._dispatcher.probe(name)
