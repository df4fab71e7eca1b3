"""HTTP as uvicorn speaks it, with a bound on what one caller may take, and problems instead of plain text."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from alertctl.api.errors import problem

LONGEST_HEAD = 64 * 1024
"""Bytes of a request line and its headers. uvicorn sets no bound: 60 MB of headers took 1.4 GB (measured)."""
ARRIVAL_SECONDS = 60.0
"""Within which a whole request must have arrived: connections that never speak up must not use up all there are."""

LAST_SECONDS = 2.0
"""What a body's rest gets when the daemon stops."""


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    Hook into uvicorn 0.54: its settings (https://www.uvicorn.org/settings/) bound neither the headers nor the time in
    which a request must arrive with httptools, and it answers a malformed request with plain text.
    `pyproject.toml` bounds the version, `tests/test_library_contracts.py` checks what this class relies on.
    """

    arrival_seconds = ARRIVAL_SECONDS

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: int | None = 0
        """Bytes of it so far; None while a body is read."""
        self._arrival: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head != 0:
            # Part of a head, or of a body: most requests come in one piece and need no timer.
            self._expect()
        if self._head is not None and self._head > LONGEST_HEAD and not self.transport.is_closing():
            self._refuse(431, f"The request's headers are longer than {LONGEST_HEAD // 1024} KB: send less of them.")

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head = 0
        self._expect_no_more()

    def shutdown(self) -> None:
        """The daemon stops: an answer may still be waited for, the rest of a body only for a moment."""
        super().shutdown()
        if self._head is None:
            self._expect_no_more()
            self._arrival = self.loop.call_later(LAST_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, f"{msg} It is not HTTP as RFC 9112 has it.")

    def _refuse(self, status: int, detail: str) -> None:
        answer = problem(status, detail, headers={"Connection": "close"})
        lines = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _expect(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(self.arrival_seconds, self.transport.close)

    def _expect_no_more(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
