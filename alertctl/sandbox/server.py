"""The thread that runs the sandbox's servers, and their sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alertctl.sandbox.connection import ClientConnection, ConnectionEnded
from alertctl.sandbox.provider import Provider


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ValueError unless `host` is loopback, OSError when the port is taken."""
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    if not address.is_loopback:
        raise ValueError(f"the sandbox listens on loopback only, not on {host}")
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(1024)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"the sandbox can't listen on {host} port {port}: {error.strerror}") from error
    return sock


@dataclass(frozen=True, slots=True)
class Listener:
    """One provider's listening socket. `tls` encrypts every connection from its start."""

    provider: Provider[Any, Any]
    socket: socket.socket
    tls: ssl.SSLContext | None


class ServerThread:
    """Serves the listeners' clients on a thread of its own between `start` and `close`."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._thread = threading.Thread(target=self._run, name="alertctl-sandbox", daemon=True)
        self._started = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()
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
        for listener in self._listeners:
            self._loop.add_reader(listener.socket, self._accept, listener)
        self._started.set()
        await self._stop.wait()
        for listener in self._listeners:
            self._loop.remove_reader(listener.socket)
            listener.socket.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, listener: Listener) -> None:
        """Accept a waiting client. A task that is cancelled before its first step still closes its socket."""
        try:
            sock, _ = listener.socket.accept()
        except OSError:  # the client has closed already, or too many files are open
            return
        sock.setblocking(False)
        task = self._loop.create_task(_serve(listener, sock))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: sock.close())


async def _serve(listener: Listener, sock: socket.socket) -> None:
    """Serve one client from its connection to its end. Faults of the stage `connect` apply before TLS."""
    provider = listener.provider
    provider.connections += 1
    connection = ClientConnection(provider.connections)
    early = provider.faults.choose("connect")
    if early is not None and early.name == "close_before_reading":
        return
    if early is not None and early.name == "black_hole":
        await asyncio.Event().wait()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(lambda: connection, sock, ssl=listener.tls)
        await provider.serve(connection, early)
        await connection.close()
    except (ConnectionEnded, OSError):  # an early end, such as a failed TLS handshake
        pass
    finally:
        await connection.abort()
