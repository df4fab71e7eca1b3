"""A Slack and a SendGrid that do nothing but answer, after a fixed time: cheap enough to share two cores.

    python -m tests.benchmarks.children.double LATENCY_SECONDS tls|plain

The first line of stdout is JSON: `url` and `ca_file`. Then each line of stdin gets one line of JSON: `reset` forgets,
`seen` tells: the requests' arrivals (first byte, monotonic seconds), when the last answer was written, how long the
answers really took on average, and how many recipients were named. The sandbox is the double of the tests; it checks
what it is sent, which costs more than a daemon's own share.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from typing import Any

from alertctl.sandbox.certificates import Certificates

SLACK = b'{"ok":true,"ts":"1700000000.000100","channel":"C1"}'
REPLIES = {
    b"/api/chat.postMessage": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(SLACK), SLACK),
    b"/v3/mail/send": b"HTTP/1.1 202 Accepted\r\nX-Message-Id: benchmark\r\nContent-Length: 0\r\n\r\n",
}
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Seen:
    """The requests received since the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.arrivals: list[float] = []
        self.answered = self.delay = 0.0
        self.recipients = 0

    def as_json(self) -> dict[str, Any]:
        delay = self.delay / len(self.arrivals) if self.arrivals else 0.0
        named = {"recipients": self.recipients, "delay": delay, "answered": self.answered}
        return {"arrivals": self.arrivals, **named}


class Connection(asyncio.Protocol):
    """One kept connection: requests one after the other, each answered when its time has come."""

    def __init__(self, seen: Seen, latency: float) -> None:
        self._seen, self._latency = seen, latency
        self._buffer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._began = time.monotonic()
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not separator or length is None or len(body) < int(length[1]):
            return
        self._buffer = b""
        self._seen.arrivals.append(self._began)
        self._seen.recipients += body.count(b'"delivery_id"')
        reply = REPLIES[head.split(b" ", 2)[1]]
        asyncio.get_running_loop().call_later(self._latency, self._answer, self._began, reply)

    def _answer(self, began: float, reply: bytes) -> None:
        self._seen.answered = time.monotonic()
        self._seen.delay += self._seen.answered - began
        self._transport.write(reply)  # type: ignore[attr-defined]


async def serve(latency: float, tls: bool) -> None:
    certificates, seen, loop = Certificates(), Seen(), asyncio.get_running_loop()
    context = certificates.context if tls else None
    server = await loop.create_server(lambda: Connection(seen, latency), "127.0.0.1", 0, ssl=context, backlog=512)
    port = server.sockets[0].getsockname()[1]
    _print_json({"url": f"{'https' if tls else 'http'}://127.0.0.1:{port}", "ca_file": certificates.ca_file})
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    loop.add_signal_handler(signal.SIGTERM, commands.feed_eof)
    while line := (await commands.readline()).decode().strip():
        _print_json(seen.as_json())
        if line == "reset":
            seen.reset()
    certificates.close()


def _print_json(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), tls=sys.argv[2] == "tls"))
