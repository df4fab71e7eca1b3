"""What the three providers of the sandbox have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from alertctl.sandbox.connection import Wire
from alertctl.sandbox.faults import Fault, Faults
from alertctl.sandbox.recorder import OnMessage, Recorder

M = TypeVar("M")
C = TypeVar("C")


class Provider(Generic[M, C]):
    """A server that takes messages. Its attributes may be set from any thread, at any time."""

    name: ClassVar[str]
    built_in: ClassVar[Mapping[str, str]]
    """Faults that certain addresses always meet."""

    latency: float = 0.0
    """Seconds before each answer (SMTP: before the answer to the message, so that a message costs it once)."""
    drip_interval: float = 1.0
    """Seconds between two bytes under the fault `drip`."""
    auth_error: str | None = None
    """When set, no credentials are good enough and this is why."""

    def __init__(self, on_message: OnMessage | None = None) -> None:
        self.faults = Faults(self.name, self.built_in)
        self.recorder: Recorder[M, C] = Recorder(self.name, on_message)

    @property
    def messages(self) -> list[M]:
        """What was accepted, in order."""
        return self.recorder.messages

    @property
    def calls(self) -> list[C]:
        """Every complete request, refused ones included."""
        return self.recorder.calls

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted so far."""
        return self.recorder.connections

    def wait_for(self, count: int, timeout: float = 10.0) -> list[M]:
        """The accepted messages once there are `count`; TimeoutError after `timeout` seconds."""
        return self.recorder.wait_for(count, timeout)

    def clear(self) -> None:
        """Forget messages, calls and faults, and who was `flaky` already."""
        self.recorder.clear()
        self.faults.clear()
        self.faults.forget()

    @abstractmethod
    async def serve(self, wire: Wire, early: Fault | None) -> None:
        """Speak with one client until one of the two has had enough. `early` struck as the connection was made."""
        raise NotImplementedError
