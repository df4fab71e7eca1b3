"""Databases with very many rows, waiting or final, made by SQL alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, event, text

from alertctl.db import Store
from tests.benchmarks.databases import Database

PART = 50_000
"""Rows of one transaction."""
EVENT = 10
"""Deliveries of one event."""
ADDRESSES = 1000
HISTORY_DAYS = 30.0
WAITING_DAYS = 1 / 24

COLUMNS = (
    "id, event_id, event_type, channel, address, address_key, routing_reason, status, error, attempts, queued_at, "
    "priority, next_attempt_at, provider_id, created_at, updated_at"
)
STATUS = {
    "history": "CASE WHEN n % 100 < 3 THEN 'failed' WHEN n % 100 = 99 THEN 'suppressed' ELSE 'success' END",
    "waiting": "'pending'",
}
ERROR = {"history": "CASE WHEN n % 100 < 3 THEN 'channel_not_found' END", "waiting": "NULL"}
DUE = {"history": "NULL", "waiting": "at"}
EVENT_TYPE = (
    "CASE n / 10 % 4 WHEN 0 THEN 'safety_rollback' WHEN 1 THEN 'experiment_lifecycle' "
    "WHEN 2 THEN 'rollout_advance' ELSE 'generic_alert' END"
)
SQLITE = """WITH RECURSIVE
  number(n) AS (SELECT :first UNION ALL SELECT n + :step FROM number WHERE n + :step < :last),
  timed AS (SELECT n, CAST(:start + n * :gap AS INTEGER) AS ms FROM number),
  row AS (SELECT n, strftime('%Y-%m-%d %H:%M:%f000', ms / 1000.0, 'unixepoch') AS at,
    printf('%08x-%04x-7000-8000-', ms >> 16, ms & 65535) || lower(hex(randomblob(2))) || printf('%08x', n) AS id,
    printf('%08x-%04x-7000-9000-%012x', (:start >> 16), (:start & 65535), n / 10) AS event FROM timed)"""
POSTGRES = """WITH
  timed AS (SELECT n, CAST(:start + n * :gap AS bigint) AS ms
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1, CAST(:step AS bigint)) AS n),
  row AS (SELECT n, to_timestamp(ms / 1000.0) AS at,
    substr(lpad(to_hex(ms), 12, '0'), 1, 8) || '-' || substr(lpad(to_hex(ms), 12, '0'), 9) || '-7000-8000-'
      || substr(md5(CAST(n AS text)), 1, 4) || lpad(to_hex(n), 8, '0') AS id,
    substr(lpad(to_hex(CAST(:start AS bigint)), 12, '0'), 1, 8) || '-'
      || substr(lpad(to_hex(CAST(:start AS bigint)), 12, '0'), 9) || '-7000-9000-'
      || lpad(to_hex(n / 10), 12, '0') AS event FROM timed)"""
EVENTS = f"""INSERT INTO event (id, event_type, severity, fields, occurred_at, created_at)
{{rows}} SELECT event, {EVENT_TYPE}, 'info', '{{{{}}}}', at, at FROM row"""


def fill(store: Store, kind: str, count: int, report: Callable[[int], None]) -> None:
    """Add `count` deliveries of a kind (`history`, `waiting`), with their events, by plain INSERT … SELECT.

    The tables' triggers run as usual. History has no attempts: no row of the benchmark reads them.
    """
    days = HISTORY_DAYS if kind == "history" else WAITING_DAYS
    start = int((time.time() - days * 86400) * 1000)
    about = {"start": start, "gap": days * 86400_000 / max(count, 1) * 0.99}
    for first in range(0, count, PART):
        part = about | {"first": first, "last": min(first + PART, count)}
        store.write(lambda connection, part=part: _add(connection, kind, part))  # type: ignore[misc]
        report(min(first + PART, count))


def _add(connection: Connection, kind: str, part: dict[str, float]) -> None:
    rows = SQLITE if connection.dialect.name == "sqlite" else POSTGRES
    connection.execute(text(_escaped(EVENTS.format(rows=rows))), part | {"step": EVENT})
    address = f"CAST(n * 7919 % {ADDRESSES} AS VARCHAR(9))"
    deliveries = f"""INSERT INTO delivery ({COLUMNS}) {rows}
    SELECT id, event, {EVENT_TYPE}, CASE n % 2 WHEN 0 THEN 'slack' ELSE 'email' END, 'team-' || {address},
      'team-' || {address}, 'named', {STATUS[kind]}, {ERROR[kind]}, 1, at, 1, {DUE[kind]}, NULL, at, at FROM row"""
    connection.execute(text(_escaped(deliveries)), part | {"step": 1})


def _escaped(sql: str) -> str:
    """Escape the colons of a time format, which are not parameters."""
    return sql.replace("%H:%M:%f", "%H\\:%M\\:%f")


def refresh_statistics(store: Store) -> None:
    """Do what the server's upkeep does in time: statistics and visibility on Postgres, an emptied WAL on SQLite."""
    raw = store.engine.raw_connection()
    try:
        if store.is_sqlite:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        raw.driver_connection.autocommit = True  # type: ignore[union-attr]
        raw.driver_connection.answer_timeout = math.inf  # type: ignore[union-attr]
        raw.cursor().execute("SET statement_timeout = 0")
        raw.cursor().execute("VACUUM (ANALYZE) delivery, event")
    finally:
        raw.close()


@contextmanager
def sample_rows(database: Database, report: Callable[[str], None], **counts: int) -> Iterator[Store]:
    """Make a database with these numbers of rows: `history=10_000, waiting=10_000`."""
    with database.fresh() as url, closing(Store(url)) as store:
        for kind, count in counts.items():
            began = time.monotonic()
            with closing(_open_fast(url)) as filling:
                fill(filling, kind, count, partial(_progress, report, f"{database.name}, {kind}", count))
            report(f"{database.name}: {count} rows of {kind} in {time.monotonic() - began:.0f} s")
        refresh_statistics(store)
        yield store


def _open_fast(url: str) -> Store:
    """Open a store whose SQLite doesn't wait for the disk and has 256 MB of cache: for filling, not for measuring."""
    store = Store(url)
    if store.is_sqlite:
        event.listen(store.engine, "connect", _set_fast_pragmas)
    return store


def _set_fast_pragmas(connection: Any, _record: Any) -> None:
    for pragma in ("synchronous = OFF", "cache_size = -256000"):
        connection.execute(f"PRAGMA {pragma}")


def _progress(report: Callable[[str], None], what: str, count: int, done: int) -> None:
    if done % 1_000_000 == 0 and done < count:
        report(f"{what}: {done} of {count} rows")
