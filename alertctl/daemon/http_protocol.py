"""uvicorn's HTTP protocol with limits for each connection, and problem JSON instead of plain text errors."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from alertctl.api.errors import problem
from alertctl.api.request_context import SECURITY_HEADERS
from alertctl.daemon.file_limit import MAX_CONNECTIONS, ShortageLog, max_connections

MAX_HEAD_BYTES = 64 * 1024
"""Limit of a request line and its headers. uvicorn has none: 60 MB of headers took 1.4 GB (measured)."""
LAST_SECONDS = 2.0
"""Time for the rest of a body when the daemon stops."""


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    Hook into uvicorn 0.54: its settings (https://www.uvicorn.org/settings/) bound neither the headers nor the time in
    which a request must arrive with httptools, and it answers a malformed request with plain text.
    `pyproject.toml` bounds the version, `tests/test_library_contracts.py` checks what this class relies on.
    """

    head_seconds = 10.0
    """Time limit for the arrival of a request's head: silent connections must not use up all connections."""
    arrival_seconds = 60.0
    """Time limit for the arrival of a body."""
    max_connections = MAX_CONNECTIONS
    shortage_log = ShortageLog()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: int | None = 0
        """Bytes of the head so far; None while a body is read."""
        self._arrival: asyncio.TimerHandle | None = None
        self._timer_started = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer(self.head_seconds)
        limit = min(self.max_connections, max_connections())
        if len(self.connections) > limit:
            self._close_longest_idle(limit)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head != 0:
            # The request is incomplete. Most requests arrive in one piece and need no timer.
            self._start_timer(self.arrival_seconds if self._head is None else self.head_seconds)
        if self._head is not None and self._head > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"The request's headers are longer than {MAX_HEAD_BYTES // 1024} KB: send less of them.")

    def on_headers_complete(self) -> None:
        self._head = None
        self._cancel_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head = 0
        self._cancel_timer()

    def shutdown(self) -> None:
        """Stop: wait for answers in progress, but only a moment for the rest of a body."""
        super().shutdown()
        if self._head is None:
            self._cancel_timer()
            self._arrival = self.loop.call_later(LAST_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, f"{msg} It is not HTTP as RFC 9112 has it.")

    def _refuse(self, status: int, detail: str) -> None:
        answer = problem(status, detail, headers={"Connection": "close", **SECURITY_HEADERS})
        lines = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _close_longest_idle(self, limit: int) -> None:
        """Make room: close the connection that has waited longest for its caller, if need be this one."""
        idle = {
            connection: since
            for connection in self.connections
            if isinstance(connection, HttpProtocol) and (since := connection._idle_since()) is not None
        }
        longest = min(idle, key=idle.__getitem__)
        self.connections.discard(longest)
        longest.transport.abort()
        advice = "raise the hard limit of open files" if limit < MAX_CONNECTIONS else "start another daemon"
        self.shortage_log.warn(
            "more than %d connections are open: closing idle ones; if that many callers are expected, %s", limit, advice
        )

    def _idle_since(self) -> float | None:
        """Return since when the connection waits for (the rest of) a request, None while a request is answered."""
        if self._arrival is not None:
            return self._timer_started
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        return None

    def _start_timer(self, seconds: float) -> None:
        if self._arrival is None:
            self._timer_started = self.loop.time()
            self._arrival = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
