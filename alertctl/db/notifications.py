"""Hearing that another process wrote something: a hint that there may be work, never more. Polling stays the truth."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from alertctl.db.engine import WHO, Store
from alertctl.errors import Unreachable

log = logging.getLogger("alertctl.db")
CHANNEL = "alertctl_due"
LOOK_SECONDS = 0.005
"""Between two looks at SQLite's version of the data; one costs 10 us of CPU (measured)."""
LISTEN_SECONDS = 1.0
"""How long one wait for Postgres's notifications lasts, so that the end of the daemon is noticed."""
LONGEST_BACKOFF = 30.0


def announce(connection: Connection) -> None:
    """Tell other daemons that this transaction wrote something that is due; they hear it after its commit.

    Postgres delivers it once however often it is said in one transaction. SQLite's readers see that data has changed.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY, {"who": connection.get_execution_options().get(WHO, "")})


_NOTIFY = text(f"SELECT pg_notify('{CHANNEL}', :who)")


class WakeUps:
    """A thread that calls `wake` when another process may have left work. On SQLite, where any change is heard of,
    `is_due` looks whether it was work."""

    def __init__(self, store: Store, is_due: Callable[[Connection], bool], wake: Callable[[], None]) -> None:
        self._store, self._is_due, self._wake = store, is_due, wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alertctl-wake-ups", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        watch = self._watch_sqlite if self._store.is_sqlite else self._listen
        backoff = 1.0
        while not self._stopping.is_set():
            try:
                watch()
                backoff = 1.0
            except Unreachable as error:
                log.info("wake-ups: %s; polling goes on, next try in %.0f s", error, backoff)
            except Exception:
                if self._stopping.is_set():
                    return
                # A hint isn't worth a daemon; whatever it is, polling goes on.
                log.warning("wake-ups: unexpected; polling goes on, next try in %.0f s", backoff, exc_info=True)
            self._stopping.wait(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _watch_sqlite(self) -> None:
        with self._store.reading() as connection:
            raw: Any = connection.connection.driver_connection
            connection.rollback()
            last = None
            while not self._stopping.wait(LOOK_SECONDS):
                version = raw.execute("PRAGMA data_version").fetchone()[0]
                if version != last and last is not None and self._is_due(connection):
                    self._wake()
                connection.rollback()
                last = version

    def _listen(self) -> None:
        """Listen until the daemon stops, or the store gave up its connections: this one leads to the same server."""
        disconnects = self._store.disconnects
        with self._store.listening() as raw:
            raw.execute(f"LISTEN {CHANNEL}")
            # What was said while nobody listened.
            self._wake()
            while not self._stopping.is_set() and self._store.disconnects == disconnects:
                for heard in raw.notifies(timeout=LISTEN_SECONDS, stop_after=1):
                    if heard.payload != self._store.who:
                        self._wake()
