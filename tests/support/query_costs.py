"""The rows that statements read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from alertctl.db import Store


@contextmanager
def costs(store: Store, connection: Connection) -> Iterator[list[int]]:
    """Count the rows (Postgres) or steps (SQLite) that the statements in this block read."""
    read: list[int] = [0]
    if store.is_sqlite:
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(lambda: read.__setitem__(0, read[0] + 100), 100)
        yield read
        raw.set_progress_handler(None, 0)
        return

    def explained(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        read[0] += rows_read(cursor.fetchone()[0][0]["Plan"])

    event.listen(connection, "before_cursor_execute", explained)
    yield read
    event.remove(connection, "before_cursor_execute", explained)


def rows_read(plan: dict[str, Any]) -> int:
    below = sum(rows_read(child) for child in plan.get("Plans", ()))
    if "Scan" not in plan["Node Type"]:
        return below
    read = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return below + int(read * plan["Actual Loops"])
