"""A cheap caller: kept connections, one prepared request, sent again as soon as it is answered.

    python -m tests.benchmarks.children.load HOST PORT PATH TOKEN CONNECTIONS COUNT STATUS < BODY

Prints JSON: `seconds`, `rate`, `p50`, `p99` (seconds) and its own `cpu` seconds; ends with 1 when an answer has
another STATUS. The latencies of each connection's first call, which also connects, are left out.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

from tests.benchmarks.lines import percentile

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Round:
    """The total of all connections."""

    def __init__(self, request: bytes, count: int, connections: int, status: bytes) -> None:
        self.request, self.status = request, status
        self.remaining, self.open = count, connections
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def closed(self, error: str | None = None) -> None:
        self.open -= 1
        if error and not self.done.done():
            self.done.set_exception(RuntimeError(error))
        if not self.open and not self.done.done():
            self.done.set_result(None)


class Caller(asyncio.Protocol):
    def __init__(self, share: Round) -> None:
        self._round = share
        self._buffer = b""
        self._calls = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        if self._round.remaining <= 0:
            self._transport.close()
            self._round.closed()
            return
        self._round.remaining -= 1
        self._began = time.monotonic()
        self._transport.write(self._round.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not separator or length is None or len(body) < int(length[1]):
            return
        if self._buffer[9:12] != self._round.status:
            self._round.closed(self._buffer[:600].decode("utf-8", "replace"))
            return
        if self._calls:
            self._round.latencies.append(time.monotonic() - self._began)
        self._calls += 1
        self._buffer = b""
        self._next()


async def call(host: str, port: int, path: str, token: str, connections: int, count: int, status: str) -> None:
    body = sys.stdin.buffer.read()
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}"]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    request = "\r\n".join(head).encode() + body
    share, loop = Round(request, count, connections, status.encode()), asyncio.get_running_loop()
    began = time.monotonic()
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(share), host, port)
    await share.done
    seconds = time.monotonic() - began
    latencies = {"p50": percentile(share.latencies, 0.5), "p99": percentile(share.latencies, 0.99)}
    print(json.dumps({"seconds": seconds, "rate": count / seconds, "cpu": time.process_time(), **latencies}))


if __name__ == "__main__":
    host, port, path, token, connections, count, status = sys.argv[1:]
    asyncio.run(call(host, int(port), path, token, int(connections), int(count), status))
