"""Rows that are handed to one statement as one JSON parameter, which the database reads as a table.

However many rows there are: one trip, one run of the tables' triggers, and an interpreter lock that is let go once
instead of once a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, FromClause, Text, bindparam, cast, column, func, literal_column, select
from sqlalchemy import type_coerce as typed

ROWS = "rows"


def bulk_rows(dialect: str, columns: Iterable[Column[Any]]) -> FromClause:
    """The parameter `rows` (see `bulk_parameter`) as a table `bulk_rows` with columns named and typed like these."""
    rows = bindparam(ROWS, type_=Text)
    if dialect == "sqlite":
        each = func.json_each(rows).table_valued("value", name="each")
        return select(
            *(typed(func.json_extract(each.c.value, _path(one.name)), one.type).label(one.name) for one in columns)
        ).subquery("bulk_rows")
    shaped = (column(one.name, one.type) for one in columns)
    return (
        func.json_to_recordset(cast(rows, JSON)).table_valued(*shaped, name="bulk_rows").render_derived(with_types=True)
    )


def _path(name: str) -> Any:
    return literal_column(f"'$.{name}'")


def bulk_parameter(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """These rows as the parameter of a statement that reads `bulk_rows`."""
    moment = _local if connection.dialect.name == "sqlite" else datetime.isoformat
    return {ROWS: json.dumps(list(rows), default=moment)}


def _local(moment: datetime) -> str:
    """As SQLite's columns hold a moment (`UtcDateTime`)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
