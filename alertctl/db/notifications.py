"""Notify other processes of due deliveries: LISTEN and NOTIFY, or SQLite's data version. Dispatchers also poll."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from alertctl.db.engine import INSTANCE_OPTION, Store
from alertctl.errors import Unreachable

log = logging.getLogger("alertctl.db")
CHANNEL = "alertctl_due"
LOOK_SECONDS = 0.005
"""Seconds between two reads of SQLite's data_version; one costs 10 us of CPU (measured)."""
LISTEN_SECONDS = 1.0
"""Seconds that one wait for Postgres's notifications lasts, so that a stopping daemon is noticed."""
LONGEST_BACKOFF = 30.0


def announce(connection: Connection) -> None:
    """Notify other daemons after the commit that this transaction wrote something due.

    Postgres sends equal notifications of one transaction once. On SQLite, readers see that the data has changed.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY, {"instance_id": connection.get_execution_options().get(INSTANCE_OPTION, "")})


_NOTIFY = text(f"SELECT pg_notify('{CHANNEL}', :instance_id)")


class WakeUps:
    """A thread that calls `wake` when another process may have written something due.

    On SQLite, where any change is noticed, `is_due` checks whether something is due.
    """

    def __init__(self, store: Store, is_due: Callable[[Connection], bool], wake: Callable[[], None]) -> None:
        self._store = store
        self._is_due = is_due
        self._wake = wake
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
                # A missing hint must not end a daemon: polling goes on.
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
        with self._store.reading() as plain:
            plain.execution_options(isolation_level="AUTOCOMMIT")
            raw: Any = plain.connection.driver_connection
            # Detached, so that no connection with subscriptions returns to the pool.
            plain.detach()
            raw.execute(f"LISTEN {CHANNEL}")
            # Something may have been announced before LISTEN.
            self._wake()
            while not self._stopping.is_set() and self._store.disconnects == disconnects:
                for notification in raw.notifies(timeout=LISTEN_SECONDS, stop_after=1):
                    if notification.payload != self._store.instance_id:
                        self._wake()
