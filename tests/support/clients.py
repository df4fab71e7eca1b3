"""Clients with a real database and sandbox, and for remote clients a daemon on a socket."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from alertctl import users
from alertctl.client.local import LocalClient
from alertctl.client.remote import RemoteClient
from alertctl.client.server_config import ServerConfig
from alertctl.config import Settings, load
from alertctl.daemon.serve import _running
from alertctl.db import Store, upgrade
from alertctl.errors import AlertctlError
from alertctl.schemas import PublishRequest, as_json
from tests.support.raw_server import raw_server, read_request

ADMIN = "admin@corp.example"
QUICK = {"RETRY_SCHEDULE": "200ms " * 10, "SLACK_PER_SECOND": "0", "ALERTCTL_LEASE": "5", "ALERTCTL_DEADLINE": "3"}
"""Settings under which nothing waits longer than a test has time for."""


def now() -> datetime:
    return datetime.now(UTC)


def settings_on(database_url: str, providers: dict[str, str]) -> Settings:
    """The complete environment of a daemon, or of a command on the database."""
    return load({**os.environ, **QUICK, **providers, "DATABASE_URL": database_url}, Path(os.environ["HOME"]))


def token_for(database_url: str, user: str, role: str) -> str:
    store = Store(database_url)
    try:
        upgrade(store)
        return store.write(lambda it: users.create_token(it, user, role, None, now()))[1]
    finally:
        store.close()


@contextmanager
def serving(settings: Settings, *, scheduled: bool = True) -> Iterator[str]:
    """The daemon, in threads of this process; yields its address."""
    store = Store(settings.database.url, pool_size=16)
    upgrade(store)
    ending = threading.Event()
    # A command of this process writes the log to its stderr.
    audit_log = logging.getLogger("alertctl.audit")
    audit_log.propagate = False
    with _running(settings, store, scheduled, [], ending) as app:
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, http="httptools", lifespan="off", log_config=None, access_log=False)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{_port_of(server)}"
        finally:
            audit_log.propagate = True
            server.should_exit = True
            ending.set()
            thread.join(10)


def _port_of(server: uvicorn.Server) -> int:
    waited = threading.Event()
    while not server.started:
        waited.wait(0.005)
    return int(server.servers[0].sockets[0].getsockname()[1])


@contextmanager
def remote_on(settings: Settings) -> Iterator[RemoteClient]:
    """A client of a daemon with these settings, with an admin's token."""
    token = token_for(settings.database.url, ADMIN, "admin")
    with serving(settings) as address, RemoteClient(ServerConfig(address, token, timeout=20)) as client:
        yield client


@dataclass
class ClientPair:
    """Two clients of the same log: one on the database, one through a daemon."""

    local: LocalClient
    remote: RemoteClient

    def same(self, action: Callable[[Any], Any]) -> Any:
        """Return the outcome of an action on both clients. It must be the same, errors included."""
        local_outcome, remote_outcome = outcome(action, self.local), outcome(action, self.remote)
        assert local_outcome == remote_outcome, f"\n{local_outcome}\n{remote_outcome}"
        return local_outcome


@dataclass(frozen=True)
class Refused:
    message: str
    exit_code: int


def outcome(action: Callable[[Any], Any], client: Any) -> Any:
    """The result, as JSON has it, or the error's words and exit code."""
    try:
        result = action(client)
    except AlertctlError as error:
        return Refused(str(error), error.exit_code)
    return (
        as_json(result) if is_dataclass(result) else [as_json(item) if is_dataclass(item) else item for item in result]
    )


@contextmanager
def answering(*replies: bytes) -> Iterator[str]:
    """A server that sends one of these replies to each connection, in order, and closes it."""
    remaining = list(replies)

    def conversation(connection: socket.socket) -> None:
        read_request(connection)
        if remaining:
            connection.sendall(remaining.pop(0))

    with raw_server(conversation) as server:
        yield f"http://127.0.0.1:{server.port}"


@contextmanager
def cutting(address: str, losses: int) -> Iterator[str]:
    """A proxy that passes calls to the server, but drops the reply of the first `losses` calls."""
    target = urlsplit(address)
    lost = 0

    def conversation(caller: socket.socket) -> None:
        nonlocal lost
        answer = _exchange(read_request(caller), target.hostname or "", target.port or 0)
        if lost == losses:
            caller.sendall(answer)
        else:
            lost += 1

    with raw_server(conversation) as server:
        yield f"http://127.0.0.1:{server.port}"


def _exchange(request: bytes, host: str, port: int) -> bytes:
    with socket.create_connection((host, port), timeout=10) as server:
        # "close": the answer ends where the connection does.
        server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return b"".join(iter(lambda: server.recv(65536), b""))


def rollback(*to: str, **more: Any) -> PublishRequest:
    """A complete event to named targets."""
    fields = {
        "feature_flag": "checkout-v3",
        "metric": "error_rate",
        "threshold": 0.01,
        "value": 0.042,
        "from_percentage": 50,
    }
    return PublishRequest(
        event_type="safety_rollback", fields={**fields, **more.pop("fields", {})}, to=list(to), **more
    )
