"""The base class of the sandbox's three providers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault, Faults
from alertctl.sandbox.recorder import OnMessage, Recorder

M = TypeVar("M")
C = TypeVar("C")


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
        self.recorder: Recorder[M, C] = Recorder(self.name, on_message)

    @property
    def messages(self) -> list[M]:
        """The accepted messages, in order."""
        return self.recorder.messages

    @property
    def calls(self) -> list[C]:
        """Every complete request, refused ones included."""
        return self.recorder.calls

    @property
    def connections(self) -> int:
        """The number of TCP connections accepted so far."""
        return self.recorder.connections

    def wait_for(self, count: int, timeout: float = 10.0) -> list[M]:
        """Return the accepted messages once there are `count`. Raises TimeoutError after `timeout` seconds."""
        return self.recorder.wait_for(count, timeout)

    def clear(self) -> None:
        """Forget messages, calls, faults, and which `flaky` addresses have failed."""
        self.recorder.clear()
        self.faults.clear()
        self.faults.forget_flaky()

    @abstractmethod
    async def serve(self, connection: ClientConnection, early: Fault | None) -> None:
        """Serve one client until either side ends. `early` is the fault that applied when it connected."""
        raise NotImplementedError
