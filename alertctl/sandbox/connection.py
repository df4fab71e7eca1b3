"""One accepted TCP connection: read, write, and end it in regular and irregular ways."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

TLS_GOODBYE = 1.0
"""Seconds to wait for the peer's answer to our TLS close: one that never answers must not keep the connection open."""


class ConnectionEnded(Exception):
    """The connection has ended: nothing can be read or written any more."""


class LimitExceeded(Exception):
    """The input is longer than its limit."""


class ClientConnection(asyncio.Protocol):
    """A connection with reads by separator or by count. Reads and writes raise ConnectionEnded after its end."""

    transport: asyncio.Transport

    def __init__(self, number: int) -> None:
        self.number = number
        self._buffer = bytearray()
        self._connected = False
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writable = asyncio.Event()
        self._writable.set()

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connected = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._wake_reader()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake_reader()
        return not self.encrypted  # a plain connection may be half closed; TLS can't

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._wake_reader()
        self._writable.set()
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # --- reading ---

    @property
    def encrypted(self) -> bool:
        return self.transport.get_extra_info("sslcontext") is not None

    async def _wait_for_input(self) -> None:
        if self._ended:
            raise ConnectionEnded
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    async def wait_for_byte(self) -> None:
        """Wait for the first byte without reading it."""
        while not self._buffer:
            await self._wait_for_input()

    async def read_until(self, separator: bytes, limit: int) -> bytes:
        """Read up to and including `separator`. Raises LimitExceeded when it is not among the first `limit` bytes."""
        searched = 0
        while (index := self._buffer.find(separator, searched)) < 0:
            if len(self._buffer) > limit:
                raise LimitExceeded
            searched = max(0, len(self._buffer) - len(separator) + 1)
            await self._wait_for_input()
        return self._take(index + len(separator))

    async def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._wait_for_input()
        return self._take(count)

    def put_back(self, data: bytes) -> None:
        """Put `data` before the unread input."""
        self._buffer[:0] = data

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    # --- writing ---

    async def send(self, data: bytes) -> None:
        """Write `data`, and wait while the peer reads too slowly."""
        if self.transport.is_closing():
            raise ConnectionEnded
        self.transport.write(data)
        await self._writable.wait()

    async def flood(self, data: bytes) -> None:
        """Send `data` and yield to other tasks. For endless loops: `send` doesn't yield while the peer keeps up."""
        await self.send(data)
        await asyncio.sleep(0)

    async def drip(self, data: bytes, interval: float) -> None:
        """Send one byte every `interval` seconds."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(interval)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Become the server side of a TLS connection. Drop input that was sent in clear before."""
        self._buffer.clear()
        transport = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_side=True)
        if transport is None:
            raise ConnectionEnded
        self.transport = transport

    # --- ending ---

    async def stall(self) -> None:
        """Send nothing until the peer closes."""
        while True:
            self._buffer.clear()
            await self._wait_for_input()

    async def ignore(self) -> None:
        """Neither read nor write any more, until the task is cancelled."""
        self.transport.pause_reading()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Send pending output, then close. Return when the connection has ended."""
        self.transport.close()
        await asyncio.wait([self._lost], timeout=TLS_GOODBYE if self.encrypted else None)

    async def abort(self) -> None:
        """Close at once and drop pending output. Without a connection yet, do nothing."""
        if self._connected and not self._lost.done():
            self.transport.abort()
            await asyncio.wait([self._lost], timeout=TLS_GOODBYE)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        no_linger = struct.pack("ii", 1, 0)  # RST instead of FIN
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        self.transport.abort()
