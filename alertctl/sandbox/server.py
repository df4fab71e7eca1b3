"""The thread that runs the sandbox's servers, and their sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from alertctl.sandbox.connection import ClientConnection, ConnectionEnded
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.provider import Provider

BACKLOG = 1024


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ValueError unless `host` is loopback, OSError when the port is taken."""
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise ValueError(f"the sandbox listens on loopback only, not on {host}")
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"the sandbox can't listen on {host} port {port}: {error.strerror}") from error
    return sock


class Listener:
    """One provider's port. `tls` encrypts every connection from its start."""

    def __init__(self, provider: Provider[Any, Any], sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.port: int = sock.getsockname()[1]
        self._provider = provider
        self._socket = sock
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Accept connections until cancelled, then end them all at once."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._accept, loop)
        try:
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(self._socket)
            self.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        self._socket.close()

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accept a waiting client. A task that is cancelled before its first step still closes its socket."""
        try:
            sock, _ = self._socket.accept()
        except OSError:  # the client has closed already, or too many files are open
            return
        sock.setblocking(False)
        task = loop.create_task(self._handle(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: sock.close())

    async def _handle(self, sock: socket.socket) -> None:
        """Handle one connection from its start to its end. Faults of the stage `connect` apply before TLS."""
        number = self._provider.add_connection()
        early = self._provider.faults.choose("connect")
        if early is not None and early.name == "close_before_reading":
            return
        if early is not None and early.name == "black_hole":
            await asyncio.Event().wait()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._serve(ClientConnection(number), sock, early)

    async def _serve(self, connection: ClientConnection, sock: socket.socket, early: Fault | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, sock, ssl=self._tls)
            try:
                await self._provider.serve(connection, early)
                await connection.close()
            finally:
                await connection.abort()
        except (ConnectionEnded, OSError):  # an early end, such as a failed TLS handshake
            pass


class ServerThread:
    """Runs the listeners on a thread of its own between `start` and `close`."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._thread = threading.Thread(target=self._run, name="alertctl-sandbox", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def start(self) -> None:
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """End every connection and the thread. Return when both have ended."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        running = [asyncio.create_task(listener.run()) for listener in self._listeners]
        self._started.set()
        await self._stop.wait()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
