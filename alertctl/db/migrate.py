"""Run the migrations (Alembic, inside the package), safely when many processes start at once."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, inspect, text

from alertctl.db.engine import Store
from alertctl.errors import ConfigError, UnusableDatabase

HEAD = "0009"
"""The newest migration. A constant, so that an up-to-date database needs no import of Alembic (0.4 s)."""
VERSION_TABLE = "alertctl_version"
"""Not Alembic's default, which another program's migrations may use in the same database."""
OLD_VERSION_TABLE = "alembic_version"
"""The version's table before 0007."""
OLD_VERSIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
_FIRST_TABLES = {"event", "delivery", "attempt"}
"""Some tables that every version has."""
LOCK = 0x616C_7274
"""Key of the Postgres advisory lock under which one process at a time migrates ("alrt")."""


def current_version(store: Store) -> str | None:
    """Return the database's version, None for an empty one. Raises Unreachable."""
    return store.read(version_in)


def upgrade(store: Store) -> None:
    """Bring the database to HEAD. Raises Unreachable, or ConfigError for a database that alertctl can't use."""
    if _is_current(store):
        return
    # A migration takes longer than a writer waits for SQLite's lock, so other writers wait for their turn.
    with store.turn():
        if _is_current(store):
            return
        if store.is_sqlite:
            with store.reading() as connection:
                _refuse_foreign(store, connection, version_in(connection))
                is_empty = not inspect(connection).get_table_names()
            # A file with tables keeps its journal mode: they may be another program's.
            if is_empty:
                _use_wal(store)
        # On SQLite, replacing a table would delete the rows that refer to it.
        with store.writing(foreign_keys=False) as connection:
            _migrate(store, connection)


def _is_current(store: Store) -> bool:
    version = current_version(store)
    _refuse_newer(store, version)
    return version == HEAD


def _migrate(store: Store, connection: Connection) -> None:
    if not store.is_sqlite:
        # An index over millions of rows takes minutes, and so does waiting for another process that builds it.
        connection.connection.driver_connection.answer_timeout = math.inf  # type: ignore[union-attr]
        connection.detach()
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    # Another process may have migrated while this one waited for the lock.
    version = version_in(connection)
    if version != HEAD:
        _refuse_newer(store, version)
        refuse_unusable(store, connection, version)
        _rename_version_table(connection)
        _run_alembic(connection)
        _refuse_orphans(store, connection)


def version_in(connection: Connection) -> str | None:
    """Return the version of the database of an open connection, None for an empty one."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        versions = _versions_in(connection, VERSION_TABLE)
        return versions[0] if versions else None
    return _old_version_in(connection, tables)


def _old_version_in(connection: Connection, tables: set[str]) -> str | None:
    """Return the version before 0007, None if there is none or if `alembic_version` is another program's."""
    if OLD_VERSION_TABLE not in tables or not tables >= _FIRST_TABLES:
        return None
    versions = _versions_in(connection, OLD_VERSION_TABLE)
    return versions[0] if len(versions) == 1 and versions[0] in OLD_VERSIONS else None


def _versions_in(connection: Connection, table: str) -> list[str]:
    return [str(version) for version in connection.execute(text(f"SELECT version_num FROM {table}")).scalars()]


def _rename_version_table(connection: Connection) -> None:
    """Rename our version table of before 0007. Alembic needs the new name before it runs."""
    if _old_version_in(connection, set(inspect(connection).get_table_names())) is None:
        return
    connection.execute(text(f"ALTER TABLE {OLD_VERSION_TABLE} RENAME TO {VERSION_TABLE}"))
    if connection.dialect.name == "postgresql":
        # Another program's table of the old name needs an index of this name.
        connection.execute(text(f"ALTER INDEX IF EXISTS {OLD_VERSION_TABLE}_pkc RENAME TO {VERSION_TABLE}_pkc"))


def refuse_unusable(store: Store, connection: Connection, version: str | None) -> None:
    """Raise ConfigError for a database that `upgrade` refuses because of its address."""
    _refuse_foreign(store, connection, version)
    _refuse_encoding(store, connection)


def _refuse(store: Store, problem: str, error: type[ConfigError] = ConfigError) -> NoReturn:
    raise error([f"DATABASE_URL: {store.shown} {problem}"])


def _refuse_newer(store: Store, version: str | None) -> None:
    if version is not None and version > HEAD:
        problem = f"has version {version} of a newer alertctl; this one supports {HEAD}: upgrade alertctl"
        _refuse(store, problem, UnusableDatabase)


def _refuse_foreign(store: Store, connection: Connection, version: str | None) -> None:
    """Raise ConfigError if another program has a table with one of our names: the database has no version of ours."""
    from alertctl.db.copy import NOT_COPIED, TABLES

    reserved = {VERSION_TABLE, *NOT_COPIED, *(table.name for table in TABLES)}
    if version is None and (taken := reserved & set(inspect(connection).get_table_names())):
        _refuse(store, f"has a table {min(taken)} of another program; use a separate database")


def _refuse_encoding(store: Store, connection: Connection) -> None:
    """Raise ConfigError unless the encoding is UTF-8: an event with a missing letter could never be recorded."""
    encoding = "UTF8" if store.is_sqlite else connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        _refuse(store, f"has the encoding {encoding}; use a database created with ENCODING 'UTF8'")


def _refuse_orphans(store: Store, connection: Connection) -> None:
    """Raise ConfigError for rows without a parent, which rolls back the transaction."""
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all() if store.is_sqlite else []
    if orphans:
        table, row, parent, _ = orphans[0]
        _refuse(
            store,
            f"has {len(orphans)} rows that refer to missing rows (first: row {row} of {table} to {parent}); "
            "delete them (PRAGMA foreign_key_check lists them), then upgrade again",
            UnusableDatabase,
        )


def _use_wal(store: Store) -> None:
    # WAL can't be switched on inside a transaction; the file keeps it. While another process switches it on, SQLite
    # refuses at once instead of waiting.
    import sqlite3

    from alertctl.db.sqlite import BUSY_SECONDS

    until = time.monotonic() + BUSY_SECONDS
    with store.reading() as connection:
        raw: Any = connection.connection.driver_connection
        while True:
            try:
                raw.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= until:
                    raise
            time.sleep(0.02)


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
