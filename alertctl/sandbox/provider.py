"""The base class of the sandbox's three providers: faults, and what was received."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault, Faults

M = TypeVar("M")
C = TypeVar("C")

OnMessage = Callable[[str, Any], None]
"""Called with the provider's name and the message, on the sandbox's own thread. It must not block."""


class Provider(Generic[M, C]):
    """A server that accepts messages. Its attributes may be set from any thread at any time."""

    name: ClassVar[str]
    built_in: ClassVar[Mapping[str, str]]
    """Faults by address, unless other faults apply."""

    latency: float = 0.0
    """Seconds before each answer (SMTP: before the answer to the message, so that a message costs it once)."""
    drip_interval: float = 1.0
    """Seconds between two bytes under the fault `drip`."""
    auth_error: str | None = None
    """When set, all credentials are refused with this error."""

    def __init__(self, on_message: OnMessage | None = None) -> None:
        self.faults = Faults(self.name, self.built_in)
        self._on_message = on_message
        self._changed = threading.Condition()
        self._messages: list[M] = []
        self._calls: list[C] = []
        self.connections = 0
        """The number of TCP connections accepted so far."""

    @property
    def messages(self) -> list[M]:
        """The accepted messages, in order."""
        with self._changed:
            return list(self._messages)

    @property
    def calls(self) -> list[C]:
        """Every complete request, refused ones included."""
        with self._changed:
            return list(self._calls)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[M]:
        """Return the accepted messages once there are `count`. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                accepted = len(self._messages)
                raise TimeoutError(f"{self.name} accepted {accepted} of {count} messages within {timeout:g} s")
            return list(self._messages)

    def clear(self) -> None:
        """Forget messages, calls, faults, and which `flaky` addresses have failed."""
        with self._changed:
            self._messages.clear()
            self._calls.clear()
        self.faults.clear()
        self.faults.forget_flaky()

    # --- called on the sandbox's thread ---

    @abstractmethod
    async def serve(self, connection: ClientConnection, early: Fault | None) -> None:
        """Serve one client until either side ends. `early` is the fault that applied when it connected."""
        raise NotImplementedError

    def add_call(self, call: C) -> None:
        with self._changed:
            self._calls.append(call)

    def add_messages(self, *messages: M) -> None:
        """Record messages and call the listener."""
        with self._changed:
            self._messages.extend(messages)
            self._changed.notify_all()
        for message in messages:
            self.announce(message)

    def announce(self, message: Any) -> None:
        """Call the listener. Its errors are logged: the client must get its answer."""
        if self._on_message is None:
            return
        try:
            self._on_message(self.name, message)
        except Exception:
            logging.getLogger(__name__).exception("on_message failed")
