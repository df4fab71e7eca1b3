"""A channel whose secrets come from files: it is built again when a secret changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from alertctl.channels.base import (
    Channel,
    ChannelType,
    Directory,
    OutgoingMessage,
    SendResult,
    ThreadedChannel,
    ThreadRoot,
)
from alertctl.config.secret_files import SecretFiles
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason


@dataclass(slots=True)
class _Built:
    """A channel with one set of secrets, and how many calls use it."""

    channel: Channel
    calls: int = 0


class ReloadingChannel:
    """Sends through the channel of the present secrets. What a provider refuses for old ones is sent again at once."""

    def __init__(self, kind: ChannelType, files: SecretFiles) -> None:
        self._kind, self._files = kind, files
        self._lock = threading.Lock()
        channel = kind.build(files.settings)
        self._built = _Built(channel)
        self.name, self.provider = channel.name, channel.provider
        self.batch_size, self.deadline = channel.batch_size, channel.deadline
        self.version = 0
        """How often the secrets changed."""

    def secrets(self) -> tuple[str, ...]:
        return self._files.settings.secrets()

    def refresh(self, *, force: bool = False) -> None:
        """Use the present secrets; `force` reads files that look unchanged, too."""
        with self._lock:
            if not self._files.refresh(force=force):
                return
            outdated, self._built = self._built, _Built(self._kind.build(self._files.settings))
            self.version += 1
            is_idle = not outdated.calls
        if is_idle:
            outdated.channel.close()

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        started = time.monotonic()
        self.refresh()
        with self._in_use() as used:
            results = used.channel.send(content, messages)
        refused = [index for index, result in enumerate(results) if _is_refused(result)]
        if not refused:
            return results
        self.refresh(force=True)
        # Later, a second call could outlast the lease. The next probe then uses the new secret.
        if self._built is not used and time.monotonic() - started < self.deadline / 4:
            with self._in_use() as renewed:
                again = renewed.channel.send(content, [messages[index] for index in refused])
            for index, result in zip(refused, again, strict=True):
                results[index] = result
        return results

    def find_person(self, email: str, timeout: float) -> str | None:
        """Look up a person through the channel of the present secrets, which has a `Directory`."""
        self.refresh()
        with self._in_use() as used:
            try:
                return cast("Directory", used.channel).find_person(email, timeout)
            except DeliveryError as error:
                if not _is_refused(error):
                    raise
                refusal = error
        self.refresh(force=True)
        if self._built is used:
            raise refusal
        with self._in_use() as renewed:
            return cast("Directory", renewed.channel).find_person(email, timeout)

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        return self._built.channel.render(content, outgoing)

    def update_root(self, root: ThreadRoot, contents: Sequence[Content], earlier: int) -> SendResult:
        with self._in_use() as used:
            assert isinstance(used.channel, ThreadedChannel)
            return used.channel.update_root(root, contents, earlier)

    def close(self) -> None:
        self._built.channel.close()

    @contextmanager
    def _in_use(self) -> Iterator[_Built]:
        """Yield the present channel, and close it afterwards if this was the last call of an outdated one."""
        with self._lock:
            built = self._built
            built.calls += 1
        try:
            yield built
        finally:
            with self._lock:
                built.calls -= 1
                is_over = built is not self._built and not built.calls
            if is_over:
                built.channel.close()


def _is_refused(result: SendResult) -> bool:
    return isinstance(result, DeliveryError) and result.reason is Reason.CONFIG
