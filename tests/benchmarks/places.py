"""Where rows are kept in a run: SQLite files and databases on a real Postgres, both with every commit on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alertctl.db import Store, upgrade
from tests import postgres


class Sqlite:
    """A file for each database. `fresh` gives the address of one of one's own, migrated unless `empty`."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def fresh(self, *, empty: bool = False) -> Iterator[str]:
        folder = self._folder / uuid.uuid4().hex[:8]
        folder.mkdir(parents=True)
        url = f"sqlite:///{folder / 'alertctl.db'}"
        try:
            if not empty:
                _migrate(url)
            yield url
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Postgres:
    """One server for the run, a database on it for each `fresh`."""

    name = "Postgres"

    def __init__(self, server: postgres.Server) -> None:
        self._server = server

    @contextmanager
    def fresh(self, *, empty: bool = False) -> Iterator[str]:
        with self._server.database(empty=empty) as url:
            yield url


Place = Sqlite | Postgres
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def _migrate(url: str) -> None:
    store = Store(url)
    upgrade(store)
    store.close()


@contextmanager
def places(names: tuple[str, ...], folder: str | None) -> Iterator[list[Place]]:
    """The databases that were asked for; `folder` (else a temporary one) is where SQLite's files go.

    Raises NoPostgres when none can be started.
    """
    made = Path(tempfile.mkdtemp(prefix="alertctl-bench-", dir=folder))
    server = postgres.new_folder()
    try:
        found: list[Place] = [Sqlite(made)] if "sqlite" in names else []
        if "postgres" in names:
            found.append(Postgres(_durable(postgres.Server(server))))
        yield found
    finally:
        postgres.stop(server)
        shutil.rmtree(made, ignore_errors=True)


def _durable(server: postgres.Server) -> postgres.Server:
    """The tests' own server forgoes the disk; here each commit is to reach it. Somebody else's stays as it is."""
    import psycopg

    if os.environ.get(postgres.SERVER_VARIABLE):
        return server
    with server.database(empty=True) as url, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        for setting in DURABLE:
            admin.execute(f"ALTER SYSTEM RESET {setting}")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute("CHECKPOINT")
    return server
