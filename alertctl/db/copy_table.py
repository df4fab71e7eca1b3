"""Copy one table to another database: read in batches, compare, write the difference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)

from alertctl.db.engine import Store, insert_or
from alertctl.errors import ConfigError

Advance = Callable[[str, int, int], None]
"""Called with a table, the number of its rows that are done, and of all its rows."""
Values = tuple[Any, ...]
"""A row in the order of `columns_of`, or its key: the first of these values."""

BATCH = 1000
"""Rows that one transaction writes at most."""
BATCH_CHARACTERS = 8_000_000
"""Characters of long text after which a batch ends: an event's fields may hold megabytes."""
FETCH_ROWS = 25
"""Rows that a driver holds at once where they may be large."""
NOT_COPIED_COLUMNS = {"delivery": frozenset({"change"})}
"""Columns that count what happened in one database; they start again in another."""
MARK = "copy"
"""The job of the row in the target's `run` that names the source of the copy. Such rows are not copied."""
NUL, REPLACEMENT = "\0", "\ufffd"


@dataclass(slots=True)
class Difference:
    """What was done to one table of the target. `replaced`: values that it can't hold, cut or replaced."""

    table: str
    source: int = 0
    target: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    replaced: int = 0


class TableCopy:
    """Copies one table from the source's snapshot to the target."""

    def __init__(self, table: Table, source: Connection, target: Store) -> None:
        self._table = table
        self._source = source
        self._target = target
        self._columns, self._keys = columns_of(table), list(table.primary_key.columns)
        self._names = [column.name for column in self._columns]
        self._text_limits = [
            (index, column.type.length or sys.maxsize)
            for index, column in enumerate(self._columns)
            if isinstance(column.type, String) and not target.is_sqlite
        ]
        self.done = Difference(table.name, source=_count(source, table))

    def fill(self, advance: Advance) -> None:
        """Write the rows that the target lacks or that differ there."""
        with self._target.reading() as connection:
            empty = connection.execute(select(self._table).limit(1)).first() is None
        done = 0
        advance(self.done.table, done, self.done.source)
        for batch in batches(self._source, self._table):
            rows = [self._fit_to_postgres(row) for row in batch]
            self._target.write(self._write, rows, empty=empty)
            done += len(rows)
            advance(self.done.table, done, self.done.source)

    def remove(self) -> None:
        """Delete the target's rows that the source no longer has, and by cascade those that refer to them."""
        for keys in self.unknown():
            self._target.write(self._delete, keys)
            self.done.removed += len(keys)

    def unknown(self) -> Iterator[list[Values]]:
        """Yield the keys of the target's rows that the source doesn't have, in batches."""
        last: Values | None = None
        while True:
            with self._target.reading() as connection:
                keys = [tuple(row) for row in connection.execute(_page(self._table, self._keys, last))]
            if not keys:
                return
            known = self._select(self._source, self._keys, keys)
            if missing := [key for key in keys if key not in known]:
                yield missing
            last = keys[-1]

    def compare(self) -> Difference:
        """Return what was done, with the number of rows that the target has now."""
        with self._target.reading() as connection:
            self.done.target = _count(connection, self._table)
        return self.done

    def _write(self, connection: Connection, rows: Sequence[Values], *, empty: bool) -> None:
        present = set() if empty else self._select(connection, self._columns, [self._key(row) for row in rows])
        by_key = {self._key(row): row for row in present}
        different = [row for row in rows if row not in present]
        if not empty:
            self._clear_unique(connection, different)
        added = [row for row in different if self._key(row) not in by_key]
        changed = [row for row in different if self._key(row) in by_key]
        if added:
            # Another copy at the same time may have inserted one of them first.
            statement = insert_or(connection, self._table).on_conflict_do_nothing()
            connection.execute(statement, [self._as_dict(row) for row in added])
        if changed:
            self._change(connection, [(by_key[self._key(row)], row) for row in changed])
        self.done.added += len(added)
        self.done.changed += len(changed)

    def _select(self, connection: Connection, columns: Sequence[Column[Any]], keys: Sequence[Values]) -> set[Values]:
        """Return the rows with these keys, and perhaps others.

        Compare each part of a key separately: both databases answer this from the index.
        """
        parts = [part.in_(sorted({key[index] for key in keys})) for index, part in enumerate(self._keys)]
        return {tuple(row) for row in connection.execute(select(*columns).where(*parts))}

    def _clear_unique(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Clear unique values of these rows that other rows of the target still have, such as an email that moved.

        The other rows get their own values in this batch or a later one.
        """
        for constraint in self._table.constraints:
            columns = list(constraint.columns) if isinstance(constraint, UniqueConstraint) else []
            if not columns or not all(column.nullable for column in columns):
                continue
            values: list[Values] = [tuple(self._as_dict(row)[column.name] for column in columns) for row in rows]
            if taken := [row_values for row_values in values if None not in row_values]:
                cleared = {column.name: None for column in columns}
                connection.execute(update(self._table).where(tuple_(*columns).in_(taken)).values(cleared))

    def _change(self, connection: Connection, pairs: Sequence[tuple[Values, Values]]) -> None:
        """Overwrite rows of the target. Raises ConfigError for a delivery that is newer there."""
        if self._table.name == "delivery":
            index = self._names.index("updated_at")
            if any(present[index] > row[index] for present, row in pairs):
                raise not_a_copy("is already in use: alertctl is sending deliveries from it")
        values: dict[str, Any] = {name: bindparam(f"b_{name}") for name in self._names[len(self._keys) :]}
        rows = [{f"b_{name}": value for name, value in self._as_dict(row).items()} for _, row in pairs]
        connection.execute(update(self._table).where(*self._same_key()).values(values), rows)

    def _delete(self, connection: Connection, keys: Sequence[Values]) -> None:
        rows = [{f"b_{part.name}": value for part, value in zip(self._keys, key, strict=True)} for key in keys]
        connection.execute(delete(self._table).where(*self._same_key()), rows)

    def _same_key(self) -> list[ColumnElement[bool]]:
        return [part == bindparam(f"b_{part.name}") for part in self._keys]

    def _key(self, row: Values) -> Values:
        return row[: len(self._keys)]

    def _as_dict(self, row: Values) -> dict[str, Any]:
        return dict(zip(self._names, row, strict=True))

    def _fit_to_postgres(self, row: Values) -> Values:
        """Return the row without NUL and with texts cut to their column's length, neither of which SQLite checks."""
        wrong = [
            (index, length)
            for index, length in self._text_limits
            if row[index] and (NUL in row[index] or len(row[index]) > length)
        ]
        if not wrong:
            return row
        values = list(row)
        for index, length in wrong:
            values[index] = values[index].replace(NUL, REPLACEMENT)[:length]
        self.done.replaced += len(wrong)
        return tuple(values)


def not_a_copy(what: str, fix: str = "") -> ConfigError:
    """Return the error for a target that is neither empty nor a copy of the source."""
    return ConfigError([f"--to: {what}; {fix}name an empty database, or the target of an earlier copy of this one"])


def columns_of(table: Table) -> list[Column[Any]]:
    """Return the columns that are copied, those of the primary key first."""
    others = [column for column in table.columns if not column.primary_key]
    excluded = NOT_COPIED_COLUMNS.get(table.name, ())
    return [*table.primary_key.columns, *(column for column in others if column.name not in excluded)]


def batches(connection: Connection, table: Table) -> Iterator[list[Values]]:
    """Yield all rows in the order of their keys, at most BATCH and about BATCH_CHARACTERS characters at a time."""
    columns = columns_of(table)
    long = [index for index, column in enumerate(columns) if isinstance(column.type, Text)]
    options = {"yield_per": FETCH_ROWS} if long else {}
    last: Values | None = None
    while True:
        batch: list[Values] = []
        characters = 0
        rows = connection.execute(_page(table, columns, last), execution_options=options)
        for row in rows:
            batch.append(tuple(row))
            characters += sum(len(row[index] or "") for index in long)
            if characters > BATCH_CHARACTERS:
                break
        # Not by a `with`: after Ctrl-C in the middle of a query, SQLAlchemy would log that it can't close the cursor.
        rows.close()
        if not batch:
            return
        yield batch
        last = batch[-1][: len(table.primary_key.columns)]


def _page(table: Table, columns: Sequence[Column[Any]], last: Values | None) -> Any:
    """Return the query for the rows after `last`, in the order of the primary key's index."""
    keys = list(table.primary_key.columns)
    page = select(*columns).where(*_copied(table)).order_by(*keys).limit(BATCH)
    if last is None:
        return page
    bound = (bindparam(None, value, type_=key.type) for key, value in zip(keys, last, strict=True))
    return page.where(tuple_(*keys) > tuple_(*bound))


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*_copied(table))).scalar_one())


def _copied(table: Table) -> list[Any]:
    return [table.c.job != MARK] if table.name == "run" else []
