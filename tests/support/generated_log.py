"""A long log, made by SQL alone: a month of alerts of a platform with its usual share of trouble.

Of 100 deliveries 3 failed for good, 1 is suppressed, a few of the newest are waiting or will be tried again; every
fifth goes to one busy channel, the others to 5 000 addresses; every event is about one of 200 flags and has two labels;
users chose half of the emails. Some of it is over since the middle of the month.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from alertctl.db import Store

PART = 50_000
"""Deliveries of one transaction."""
EACH = 5
"""Deliveries of an event."""
BUSY = "#platform-alerts"
"""Where every fifth delivery goes."""
FLAG = "flag-0"
"""The subject of every tenth event."""
TEAM = {"team": "growth"}
"""The label of every tenth event; the others have another team."""
FREQUENT = {"environment": "production"}
"""A label of nine of ten events."""
OVER = "experiment_lifecycle"
"""A type of event that is frequent in the older half and doesn't occur in the newer."""
DAYS = 30

_TYPE = f"""CASE WHEN n / 5 % 10 < 3 AND n < :count / 2 THEN '{OVER}' WHEN n / 5 % 10 = 0 THEN 'safety_rollback'
 WHEN n / 5 % 10 = 1 THEN 'generic_alert' ELSE 'rollout_advance' END"""
_WAITS = "n >= :count - :waiting"
_STATUS = f"""CASE WHEN {_WAITS} THEN CASE n % 2 WHEN 0 THEN 'pending' ELSE 'failed' END
 WHEN n % 100 < 3 THEN 'failed' WHEN n % 100 = 99 THEN 'suppressed' ELSE 'success' END"""
_ERROR = f"""CASE WHEN {_WAITS} THEN CASE n % 2 WHEN 1 THEN 'http_503' END
 WHEN n % 10000 = 0 THEN 'token_revoked' WHEN n % 100 < 3 THEN 'channel_not_found' END"""
_CHANNEL = "CASE n % 2 WHEN 0 THEN 'email' ELSE 'slack' END"
_ADDRESS = f"CASE WHEN n % 5 = 1 THEN '{BUSY}' ELSE 'team-' || CAST(n % 4999 AS VARCHAR(9)) END"
_FLAG = f"CASE WHEN n / 5 % 10 = 3 THEN '{FLAG}' ELSE 'flag-' || CAST(1 + n / 5 % 199 AS VARCHAR(9)) END"
_SQLITE = """WITH RECURSIVE
 number(n) AS (SELECT :first UNION ALL SELECT n + :step FROM number WHERE n + :step < :last),
 routed AS (SELECT n, CAST(:start + n / 5 * 5 * :gap AS INTEGER) AS first FROM number),
 timed AS (SELECT n, first, first + n % 5 AS ms FROM routed),
 made AS (SELECT n, strftime('%Y-%m-%d %H\\:%M\\:%f000', ms / 1000.0, 'unixepoch') AS at,
  printf('%08x-%04x-7000-8000-%04x%08x', ms >> 16, ms & 65535, n * 40503 % 65536, n * 2654435761 % 4294967296) AS id,
  printf('%08x-%04x-7000-7fff-%012x', first >> 16, first & 65535, n / 5) AS event FROM timed)"""
_POSTGRES = """WITH
 routed AS (SELECT n, CAST(:start + n / 5 * 5 * :gap AS bigint) AS ms
  FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1, CAST(:step AS bigint)) AS n),
 timed AS (SELECT n, lpad(to_hex(ms), 12, '0') AS first, ms + n % 5 AS ms FROM routed),
 made AS (SELECT n, to_timestamp(ms / 1000.0) AS at,
  left(lpad(to_hex(ms), 12, '0'), 8) || '-' || right(lpad(to_hex(ms), 12, '0'), 4) || '-7000-8000-'
   || lpad(to_hex(n * 40503 % 65536), 4, '0') || lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') AS id,
  left(first, 8) || '-' || right(first, 4) || '-7000-7fff-' || lpad(to_hex(n / 5), 12, '0') AS event FROM timed)"""
_EVENTS = f"""INSERT INTO event (id, event_type, severity, fields, feature_flag, occurred_at, created_at)
 {{made}} SELECT event, {_TYPE}, 'info', '{{{{"service"\\: "svc-' || CAST(n % 300 AS VARCHAR(9)) || '"}}}}', {_FLAG},
 at, at FROM made"""
_LABELS = """INSERT INTO event_label (event_id, name, value)
 {made} SELECT event, 'team', CASE n / 5 % 10 WHEN 4 THEN 'growth' ELSE 'other' END FROM made
 UNION ALL SELECT event, 'environment', CASE n / 5 % 10 WHEN 5 THEN 'staging' ELSE 'production' END FROM made"""
_DELIVERIES = f"""INSERT INTO delivery (id, event_id, event_type, channel, address, address_key, routing_reason,
 user_id, status, error, attempts, queued_at, priority, next_attempt_at, created_at, updated_at)
 {{made}} SELECT id, event, {_TYPE}, {_CHANNEL}, {_ADDRESS}, {_ADDRESS}, 'preference',
 CASE n % 4 WHEN 0 THEN 'user-' || CAST(n % 1000 AS VARCHAR(9)) END, {_STATUS}, {_ERROR}, 1, at, 1,
 CASE WHEN {_WAITS} THEN at END, at, at FROM made"""
_ATTEMPTS = f"""INSERT INTO attempt (delivery_id, number, provider, started_at, duration_ms, outcome, code, answer)
 {{made}} SELECT id, 1, {_CHANNEL}, at, 120, CASE WHEN n % 100 < 3 THEN 'failed' ELSE 'success' END,
 {_ERROR}, 'answer ' || CAST(n AS VARCHAR(9)) FROM made"""
_USERS = """INSERT INTO users (id, email, role, disabled, created_at)
 {made} SELECT 'user-' || CAST(n AS VARCHAR(9)), 'user-' || CAST(n AS VARCHAR(9)) || '@corp.example', 'viewer', {no}, at
 FROM made"""


def fill(store: Store, count: int, until: datetime, *, waiting: int = 100) -> None:
    """Add `count` deliveries of the 30 days before `until`, with events, users and attempts.

    The last `waiting` are pending, or failed and to be tried again. The tables' triggers run as for anybody.
    """
    start = int((until - timedelta(days=DAYS)).timestamp() * 1000)
    about = {"start": start, "gap": DAYS * 86_400_000 / count, "count": count, "waiting": waiting}
    _run(store, _USERS, about | {"first": 0, "last": 1000, "step": 1})
    for first in range(0, count, PART):
        part = about | {"first": first, "last": min(first + PART, count)}
        _run(store, _EVENTS, part | {"step": EACH})
        _run(store, _LABELS, part | {"step": EACH})
        _run(store, _DELIVERIES, part | {"step": 1})
        _run(store, _ATTEMPTS, part | {"step": 1})
    wait_for_results(store)


def _run(store: Store, statement: str, values: dict[str, Any]) -> None:
    made, no = (_SQLITE, "0") if store.is_sqlite else (_POSTGRES, "false")

    def work(connection: Connection) -> None:
        words = text(statement.format(made=made, no=no))
        connection.execute(words, {name: value for name, value in values.items() if name in words._bindparams})

    store.write(work)


def wait_for_results(store: Store) -> None:
    """Do the server's own maintenance: empty the WAL; on Postgres update statistics and the visibility map."""
    raw = store.engine.raw_connection()
    try:
        if store.is_sqlite:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        raw.driver_connection.autocommit = True  # type: ignore[union-attr]
        raw.cursor().execute("SET statement_timeout = 0")
        raw.cursor().execute("VACUUM (ANALYZE) delivery, event, event_label, attempt, users")
    finally:
        raw.close()
