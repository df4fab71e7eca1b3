"""Run the migrations (Alembic, inside the package), safely when many processes start at once."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, PoolProxiedConnection, inspect, text

from alertctl.db.engine import BUSY_SECONDS, Store
from alertctl.errors import ConfigError

HEAD = "0006"
"""The newest migration. A constant, so that an up-to-date database needs no import of Alembic (0.4 s)."""
LOCK = 0x616C_7274
"""Key of the Postgres advisory lock under which one process at a time migrates ("alrt")."""


def current_version(store: Store) -> str | None:
    """Return the database's version, None for an empty one. Raises Unreachable."""
    with store.reading() as connection:
        return version_in(connection)


def upgrade(store: Store) -> None:
    """Bring the database to HEAD. Raises Unreachable, or ConfigError when it belongs to a newer alertctl."""
    if _is_current(store):
        return
    # A migration takes longer than a writer waits for SQLite's lock, so other writers wait for their turn.
    with store.turn():
        if _is_current(store):
            return
        if store.is_sqlite:
            with store.reading() as connection:
                _refuse_foreign(store, connection, version_in(connection))
            _use_wal(store)
        _migrate(store)


def _is_current(store: Store) -> bool:
    version = current_version(store)
    _refuse_newer(store, version)
    return version == HEAD


def _migrate(store: Store) -> None:
    with _migrating(store) as connection:
        if not store.is_sqlite:
            # An index over millions of rows takes minutes, and so does waiting for another process that builds it.
            connection.connection.driver_connection.answer_timeout = math.inf  # type: ignore[union-attr]
            connection.detach()
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        # Another process may have migrated while this one waited for the lock.
        present = version_in(connection)
        if present != HEAD:
            _refuse_newer(store, present)
            _refuse_foreign(store, connection, present)
            _refuse_encoding(store, connection)
            _run_alembic(connection)
            _refuse_orphans(store, connection)


@contextmanager
def _migrating(store: Store) -> Iterator[Connection]:
    """Open a write transaction, on SQLite without foreign keys: there, replacing a table deletes its rows.

    Foreign keys can only be switched off before BEGIN. The connection is closed at the end, not reused.
    """
    with store.map_driver_errors(), store.engine.connect() as plain:
        connection = plain.execution_options(alertctl_writes=True)
        if store.is_sqlite:
            connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
            connection.detach()
        with connection.begin():
            yield connection


def _refuse_orphans(store: Store, connection: Connection) -> None:
    """Raise ConfigError for rows without a parent, which rolls back the transaction."""
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all() if store.is_sqlite else []
    if orphans:
        table, row, parent, _ = orphans[0]
        what = f"{len(orphans)} rows that refer to missing ones (row {row} of {table} to {parent})"
        fix = "delete them (PRAGMA foreign_key_check lists them), then upgrade again"
        raise ConfigError([f"DATABASE_URL: {store.shown} has {what}: {fix}"])


def version_in(connection: Connection) -> str | None:
    """Return the version of the database of an open connection, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if version is None else str(version)


def _refuse_newer(store: Store, version: str | None) -> None:
    if version is not None and version > HEAD:
        raise ConfigError(
            [f"DATABASE_URL: {store.shown} is of a newer alertctl ({version}, this one knows {HEAD}): upgrade it"]
        )


def _refuse_foreign(store: Store, connection: Connection, version: str | None) -> None:
    """Raise ConfigError if another program has a table with one of our names: the database has no version of ours."""
    from alertctl.db.copy import NOT_COPIED, TABLES

    reserved = {*NOT_COPIED, *(table.name for table in TABLES)}
    if version is None and (taken := reserved & set(inspect(connection).get_table_names())):
        raise ConfigError(
            [f"DATABASE_URL: {store.shown} has a table {min(taken)} that is not alertctl's: use a database of its own"]
        )


def _refuse_encoding(store: Store, connection: Connection) -> None:
    """Raise ConfigError unless the encoding is UTF-8: an event with a missing letter could never be recorded."""
    encoding = "UTF8" if store.is_sqlite else connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise ConfigError(
            [f"DATABASE_URL: {store.shown} has the encoding {encoding}: use a database made with ENCODING 'UTF8'"]
        )


def _use_wal(store: Store) -> None:
    # WAL can't be switched on inside a transaction; the file keeps it. While another process switches it on, SQLite
    # refuses at once instead of waiting.
    until = time.monotonic() + BUSY_SECONDS
    with store.map_driver_errors():
        raw = store.engine.raw_connection()
        try:
            while not _is_wal(raw, until):
                time.sleep(0.02)
        finally:
            raw.close()


def _is_wal(raw: PoolProxiedConnection, until: float) -> bool:
    try:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) and time.monotonic() < until:
            return False
        raise
    return True


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
