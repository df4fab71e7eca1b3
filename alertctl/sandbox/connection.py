"""One accepted TCP connection as the sandbox's servers see it: bytes in, bytes out, polite and rude ways to end it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

TLS_GOODBYE = 1.0
"""Seconds that a peer gets to answer our TLS close; one that never does must not keep the connection open."""


class Gone(Exception):
    """The connection has ended; nothing more can be read from it or written to it."""


class TooLong(Exception):
    """What should have ended by now goes on beyond its limit."""


class Wire(asyncio.Protocol):
    """Reads by separator or by count; every read and write raises `Gone` once the connection has ended."""

    transport: asyncio.Transport

    def __init__(self, number: int) -> None:
        self.number = number
        self._buffer = bytearray()
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writable = asyncio.Event()
        self._writable.set()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return not self.encrypted  # a plain connection may be half closed; TLS can't

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._wake()
        self._writable.set()
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # --- reading ---

    @property
    def encrypted(self) -> bool:
        return self.transport.get_extra_info("sslcontext") is not None

    async def _more(self) -> None:
        if self._ended:
            raise Gone
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    async def first_byte(self) -> None:
        """Wait until there is something to read, and leave it there."""
        while not self._buffer:
            await self._more()

    async def until(self, separator: bytes, limit: int) -> bytes:
        """Everything up to and with `separator`; `TooLong` when it isn't among the first `limit` bytes."""
        seen = 0
        while (found := self._buffer.find(separator, seen)) < 0:
            if len(self._buffer) > limit:
                raise TooLong
            seen = max(0, len(self._buffer) - len(separator) + 1)
            await self._more()
        return self._take(found + len(separator))

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    def put_back(self, data: bytes) -> None:
        """Let `data` be what is read next."""
        self._buffer[:0] = data

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    # --- writing ---

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other side reads too slowly."""
        if self.transport.is_closing():
            raise Gone
        self.transport.write(data)
        await self._writable.wait()

    async def flood(self, data: bytes) -> None:
        """`send` for loops without an end: lets others have their turn even when the peer reads everything at once."""
        await self.send(data)
        await asyncio.sleep(0)

    async def drip(self, data: bytes, interval: float) -> None:
        """One byte every `interval` seconds."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(interval)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Become the server side of a TLS connection. What was sent too early, in clear, is dropped."""
        self._buffer.clear()
        transport = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_side=True)
        if transport is None:
            raise Gone
        self.transport = transport

    # --- the end ---

    async def stall(self) -> None:
        """Keep silent until the other side goes."""
        while True:
            self._buffer.clear()
            await self._more()

    async def ignore(self) -> None:
        """Neither read nor write any more, whatever the other side does."""
        self.transport.pause_reading()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Send what is still waiting, then close; returns when the connection is gone."""
        self.transport.close()
        await asyncio.wait([self._lost], timeout=TLS_GOODBYE if self.encrypted else None)

    async def abort(self) -> None:
        """Be gone now; what is still waiting to be sent is lost."""
        if not self._lost.done():
            self.transport.abort()
            await asyncio.wait([self._lost], timeout=TLS_GOODBYE)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        reset_on_close(self.transport.get_extra_info("socket"))
        self.transport.abort()


def reset_on_close(sock: socket.socket) -> None:
    """A socket that lingers for no time at all answers with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
