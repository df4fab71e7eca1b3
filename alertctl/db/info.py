"""Describe a database without changing it: engine, version, size, rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select, text

from alertctl.db.copy import TABLES
from alertctl.db.engine import Store, database_file
from alertctl.db.migrate import HEAD, version_in

MANY = 1_000_000
"""Tables with more rows are estimated: counting ten millions takes seconds."""


@dataclass(frozen=True, slots=True)
class RowCount:
    """The number of a table's rows; an estimate unless `exact`."""

    table: str
    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """A database's properties. `version` is None without tables; `size` is in bytes and includes the journal."""

    engine: str
    version: str | None
    known: str
    size: int
    details: dict[str, str]
    rows: tuple[RowCount, ...]

    @property
    def state(self) -> str:
        """`empty`, `behind` (an upgrade is due), `current`, or `newer` than this alertctl."""
        if self.version is None:
            return "empty"
        return "current" if self.version == self.known else "newer" if self.version > self.known else "behind"


def read_info(store: Store) -> DatabaseInfo:
    """Read a database's properties, within seconds at any size. Raises Unreachable."""
    with store.reading() as connection:
        describe = _sqlite if store.is_sqlite else _postgres
        engine, size, details = describe(connection)
        version = version_in(connection)
        rows = tuple(_count_rows(connection)) if version is not None else ()
    return DatabaseInfo(engine, version, HEAD, size, details, rows)


def _sqlite(connection: Connection) -> tuple[str, int, dict[str, str]]:
    version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
    file = database_file(connection)
    size = sum(os.path.getsize(path) for path in (file, f"{file}-wal") if os.path.exists(path))
    names = ("journal_mode", "page_size", "freelist_count")
    details = {name: str(connection.exec_driver_sql(f"PRAGMA {name}").scalar()) for name in names}
    return f"SQLite {version}", size, details


def _postgres(connection: Connection) -> tuple[str, int, dict[str, str]]:
    names = ("server_encoding", "transaction_read_only", "max_connections")
    details = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in names}
    version = str(connection.exec_driver_sql("SHOW server_version").scalar()).partition(" ")[0]
    size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return f"PostgreSQL {version}", int(size), details


def _count_rows(connection: Connection) -> Iterator[RowCount]:
    """Yield the row count of each table; an older database may not have all of them."""
    existing = set(inspect(connection).get_table_names())
    for table in TABLES:
        if table.name in existing:
            estimate = _estimate_rows(connection, table.name)
            exact = estimate <= MANY
            count = connection.execute(select(func.count()).select_from(table)).scalar_one() if exact else estimate
            yield RowCount(table.name, count, exact)


def _estimate_rows(connection: Connection, table: str) -> int:
    """Estimate a table's rows cheaply: by SQLite's row numbers (prune deletes the oldest) or Postgres's statistics."""
    if connection.dialect.name == "sqlite":
        query = f'SELECT max(rowid) - min(rowid) + 1 FROM "{table}"'
    else:
        query = f"SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('\"{table}\"')"
    return int(connection.exec_driver_sql(query).scalar() or 0)
