"""Requests and messages that the sandbox's servers received, for the command line, the demo and the tests."""

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
"""Called with the provider's name and the message, on the sandbox's own thread. It must not block."""

M = TypeVar("M")
C = TypeVar("C")

_WALL, _MONOTONIC = datetime.now(UTC), time.monotonic()


def now() -> datetime:
    """Return the time in UTC. It never runs backwards, so that differences are durations."""
    return _WALL + timedelta(seconds=time.monotonic() - _MONOTONIC)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One complete HTTP request, accepted or not. `headers` has lower-case names.

    `head` has the request line and the headers as received; `fault` is the fault that applied, "" for none.
    `connection` counts the TCP connections from 1: calls over a kept one share a number.
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
    """One mail transaction from its MAIL command on, accepted or not.

    `commands` are the client's lines, `replies` the sandbox's, `data` the message
    (dot-unstuffed) if it was received.
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
    """`channel` is as requested, `payload` has all arguments of chat.postMessage but the token."""

    channel: str
    text: str
    blocks: list[dict[str, Any]]
    ts: str
    payload: dict[str, Any]
    headers: Mapping[str, str]
    at: datetime


@dataclass(frozen=True, slots=True)
class SendGridMessage:
    """One personalization of a request. `to` has its addresses, separated by a comma and a space."""

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
        """The message with newlines for CRLF; `data` is the message as received."""
        return email.message_from_bytes(self.data.replace(b"\r\n", b"\n"), policy=email.policy.default)


class Recorder(Generic[M, C]):
    """Accepted messages and all calls. Written by the sandbox's thread, read by any."""

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

    def add_connection(self) -> int:
        """Count one more TCP connection and return its number."""
        with self._changed:
            self._connections += 1
            return self._connections

    def add_call(self, call: C) -> None:
        with self._changed:
            self._calls.append(call)

    def add_messages(self, *messages: M) -> None:
        with self._changed:
            self._messages.extend(messages)
            self._changed.notify_all()
        if self._on_message is not None:
            for message in messages:
                self._notify(self._on_message, message)

    def _notify(self, on_message: OnMessage, message: M) -> None:
        """Call the listener. Its errors are logged: the client must get its answer."""
        try:
            on_message(self._provider, message)
        except Exception:
            logging.getLogger(__name__).exception("on_message failed")

    def wait_for(self, count: int, timeout: float) -> list[M]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                accepted = len(self._messages)
                raise TimeoutError(f"{self._provider} accepted {accepted} of {count} messages within {timeout:g} s")
            return list(self._messages)

    def clear(self) -> None:
        with self._changed:
            self._messages.clear()
            self._calls.clear()
