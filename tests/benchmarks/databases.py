"""The databases of a run: SQLite files, and databases on a real Postgres, both with every commit on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alertctl.db import Store, upgrade
from tests.support import postgres


class Sqlite:
    """A file for each database. `fresh` makes a new one, migrated unless `empty`, and yields its URL."""

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


Database = Sqlite | Postgres
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def _migrate(url: str) -> None:
    store = Store(url)
    upgrade(store)
    store.close()


@contextmanager
def open_databases(names: tuple[str, ...], folder: str | None) -> Iterator[list[Database]]:
    """Open these kinds of databases. SQLite's files are in `folder`, else in a temporary one.

    Raises NoPostgres when none can be started.
    """
    sqlite_folder = Path(tempfile.mkdtemp(prefix="alertctl-bench-", dir=folder))
    server = postgres.new_folder()
    try:
        databases: list[Database] = [Sqlite(sqlite_folder)] if "sqlite" in names else []
        if "postgres" in names:
            databases.append(Postgres(_make_durable(postgres.Server(server))))
        yield databases
    finally:
        postgres.stop(server)
        shutil.rmtree(sqlite_folder, ignore_errors=True)


def _make_durable(server: postgres.Server) -> postgres.Server:
    """Make each commit reach the disk, which the tests' own server skips. A server that was named stays as it is."""
    import psycopg

    if os.environ.get(postgres.SERVER_VARIABLE):
        return server
    with server.database(empty=True) as url, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        for setting in DURABLE:
            admin.execute(f"ALTER SYSTEM RESET {setting}")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute("CHECKPOINT")
    return server
