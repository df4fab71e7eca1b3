"""What the sandbox's servers saw and took, kept for those who ask: the command line, the demo, the tests."""

from __future__ import annotations

import email
import email.policy
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any, Generic, TypeVar

OnMessage = Callable[[str, Any], None]
"""Called with the provider's name and the message, on the sandbox's own thread: it must not block."""

M = TypeVar("M")
C = TypeVar("C")

_WALL, _MONOTONIC = datetime.now(UTC), time.monotonic()


def now() -> datetime:
    """UTC, and yet never running backwards: the difference of two of them is a duration."""
    return _WALL + timedelta(seconds=time.monotonic() - _MONOTONIC)


@dataclass(frozen=True, slots=True)
class Call:
    """One complete HTTP request, whatever became of it. `headers` has lower-case names.

    `head` is the request line and the headers as they came; `fault` what the sandbox did to it ("" = nothing);
    `connection` counts the TCP connections from 1, so that calls over a kept one share a number.
    """

    provider: str
    method: str
    path: str
    headers: Mapping[str, str]
    head: bytes
    body: bytes
    fault: str
    connection: int
    at: datetime

    @property
    def raw(self) -> bytes:
        return self.head + self.body


@dataclass(slots=True)
class SmtpCall:
    """One mail transaction from its MAIL command on, whatever became of it.

    `commands` are the client's lines, `replies` the sandbox's, `data` the message (dot-unstuffed) if it got so far.
    """

    mail_from: str
    fault: str
    connection: int
    at: datetime
    encrypted: bool
    rcpt_tos: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """`channel` is as it was asked for, `payload` all arguments of chat.postMessage but the token."""

    channel: str
    text: str
    blocks: list[dict[str, Any]]
    ts: str
    payload: dict[str, Any]
    headers: Mapping[str, str]
    at: datetime


@dataclass(frozen=True, slots=True)
class SendGridMessage:
    """One personalization of a request. `to` is its address (several: joined by a comma and a blank)."""

    to: str
    personalization: dict[str, Any]
    payload: dict[str, Any]
    message_id: str
    headers: Mapping[str, str]
    at: datetime


@dataclass(frozen=True, slots=True)
class SmtpMessage:
    mail_from: str
    rcpt_tos: list[str]
    data: bytes
    at: datetime

    @property
    def parsed(self) -> EmailMessage:
        """The message, its line ends made plain newlines; `data` has it as it came."""
        return email.message_from_bytes(self.data.replace(b"\r\n", b"\n"), policy=email.policy.default)


class Recorder(Generic[M, C]):
    """Messages taken and calls seen. Written by the sandbox's thread, read by any."""

    def __init__(self, provider: str, on_message: OnMessage | None) -> None:
        self._provider = provider
        self._on_message = on_message
        self._changed = threading.Condition()
        self._messages: list[M] = []
        self._calls: list[C] = []
        self._connections = 0

    @property
    def messages(self) -> list[M]:
        with self._changed:
            return list(self._messages)

    @property
    def calls(self) -> list[C]:
        with self._changed:
            return list(self._calls)

    @property
    def connections(self) -> int:
        with self._changed:
            return self._connections

    def connected(self) -> int:
        """Count one more TCP connection; returns its number."""
        with self._changed:
            self._connections += 1
            return self._connections

    def called(self, call: C) -> None:
        with self._changed:
            self._calls.append(call)

    def accepted(self, *messages: M) -> None:
        with self._changed:
            self._messages.extend(messages)
            self._changed.notify_all()
        if self._on_message is not None:
            for message in messages:
                self._tell(self._on_message, message)

    def _tell(self, on_message: OnMessage, message: M) -> None:
        """A listener's mistake must not cost the client its answer."""
        try:
            on_message(self._provider, message)
        except Exception:
            logging.getLogger(__name__).exception("on_message failed")

    def wait_for(self, count: int, timeout: float) -> list[M]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                came = len(self._messages)
                raise TimeoutError(f"{self._provider} accepted {came} of {count} messages within {timeout:g} s")
            return list(self._messages)

    def clear(self) -> None:
        with self._changed:
            self._messages.clear()
            self._calls.clear()
