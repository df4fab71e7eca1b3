"""Pass many rows to one statement as one JSON parameter, which the database reads as a table.

That is one round trip and one run of the tables' triggers for any number of rows, and the interpreter lock is released
once instead of once per row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    FromClause,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy import column as sql_column

ROWS = "rows"


def bulk_rows(dialect: str, columns: Iterable[Column[Any]]) -> FromClause:
    """Return the parameter `rows` (see `bulk_parameter`) as a table `bulk_rows` with these columns' names and types."""
    rows = bindparam(ROWS, type_=Text)
    if dialect == "sqlite":
        value = func.json_each(rows).table_valued("value", name="each").c.value
        values = (
            type_coerce(func.json_extract(value, literal_column(f"'$.{column.name}'")), column.type).label(column.name)
            for column in columns
        )
        return select(*values).subquery("bulk_rows")
    typed_columns = (sql_column(column.name, column.type) for column in columns)
    table = func.json_to_recordset(cast(rows, JSON)).table_valued(*typed_columns, name="bulk_rows")
    return table.render_derived(with_types=True)


def bulk_parameter(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return these rows as the parameter of a statement that reads `bulk_rows`."""
    encode = _sqlite_text if connection.dialect.name == "sqlite" else datetime.isoformat
    return {ROWS: json.dumps(list(rows), default=encode)}


def _sqlite_text(moment: datetime) -> str:
    """Return a time as SQLite's columns hold it (`UtcDateTime`)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
