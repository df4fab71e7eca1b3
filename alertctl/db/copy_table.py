"""Copy one table to another database: read in batches, compare, write the difference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Column,
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
from sqlalchemy.dialects import postgresql, sqlite

from alertctl.db.engine import Store

Values = tuple[Any, ...]
"""A row, or its key, in the order of the table's columns."""
Row = dict[str, Any]

BATCH = 1000
"""Rows that one transaction writes at most."""
BATCH_CHARACTERS = 8_000_000
"""Characters of long text after which a batch ends: an event's fields may hold megabytes."""
FETCH_ROWS = 25
"""Rows that a driver holds at once where they may be large."""
NOT_COPIED_COLUMNS = {"delivery": frozenset({"change"})}
"""Columns that count what happened in one database; they start again in another."""
NUL, REPLACEMENT = "\0", "\ufffd"
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


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
    """Copies one table from the source's snapshot to the target. `only`: conditions for the rows that are copied.

    `refuse(there, here)` may raise before a row of the target is overwritten.
    """

    def __init__(
        self,
        table: Table,
        source: Connection,
        target: Store,
        only: Sequence[Any],
        refuse: Callable[[Row, Row], None],
    ) -> None:
        self._table, self._source, self._target = table, source, target
        self._only, self._refuse = only, refuse
        self._columns = columns_of(table)
        self._names = [column.name for column in self._columns]
        self._key = _key(table)
        self._unique = _nullable_unique(table)
        self._longest = [] if target.is_sqlite else _text_limits(self._columns)
        self.done = Difference(table.name, source=count(source, table, only))

    def fill(self, advance: Callable[[int], None]) -> None:
        """Write the rows that the target lacks or that differ there. `advance` is called with each batch's rows."""
        with self._target.reading() as connection:
            empty = connection.execute(select(self._table).limit(1)).first() is None
        for batch in batches(self._source, self._table, self._only):
            rows = [self._fit_to_postgres(row) for row in batch] if self._longest else batch
            self._target.write(partial(self._write, rows=rows, empty=empty))
            advance(len(rows))

    def remove(self) -> None:
        """Delete the target's rows that the source no longer has, and by cascade those that refer to them."""
        for keys in self.unknown():
            self._target.write(partial(_delete, table=self._table, keys=keys))
            self.done.removed += len(keys)

    def unknown(self) -> Iterator[list[Values]]:
        """Yield the keys of the target's rows that the source doesn't have, in batches."""
        columns = list(self._table.primary_key.columns)
        last: Values | None = None
        while keys := self._keys_after(last):
            known = set(_select_keys(self._source, self._table, columns, keys))
            if missing := [key for key in keys if key not in known]:
                yield missing
            last = keys[-1]

    def compare(self) -> Difference:
        """Return what was done, with the number of rows that the target has now."""
        with self._target.reading() as connection:
            self.done.target = count(connection, self._table, self._only)
        return self.done

    def _keys_after(self, last: Values | None) -> list[Values]:
        columns = list(self._table.primary_key.columns)
        with self._target.reading() as connection:
            return [tuple(row) for row in connection.execute(_page(self._table, columns, last, self._only))]

    def _write(self, connection: Connection, rows: Sequence[Values], *, empty: bool) -> None:
        there = [] if empty else _select_keys(connection, self._table, self._columns, [self._key(row) for row in rows])
        same, by_key = set(there), {self._key(row): row for row in there}
        different = [row for row in rows if row not in same]
        if not empty:
            self._clear_unique(connection, different)
        self._add(connection, [row for row in different if self._key(row) not in by_key])
        self._change(connection, [(by_key[self._key(row)], row) for row in different if self._key(row) in by_key])

    def _clear_unique(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Clear unique values of these rows that other rows of the target still have, such as an email that moved.

        The other rows get their own values in this batch or a later one.
        """
        for columns in self._unique:
            values = [tuple(self._as_dict(row)[column.name] for column in columns) for row in rows]
            if taken := [row_values for row_values in values if None not in row_values]:
                cleared = {column.name: None for column in columns}
                connection.execute(update(self._table).where(tuple_(*columns).in_(taken)).values(cleared))

    def _add(self, connection: Connection, rows: Sequence[Values]) -> None:
        if rows:
            # Another copy at the same time may have inserted one of them first.
            statement = _INSERT[connection.dialect.name](self._table).on_conflict_do_nothing()
            connection.execute(statement, [self._as_dict(row) for row in rows])
            self.done.added += len(rows)

    def _change(self, connection: Connection, pairs: Sequence[tuple[Values, Values]]) -> None:
        for there, here in pairs:
            self._refuse(self._as_dict(there), self._as_dict(here))
        if pairs:
            rows = [{f"b_{name}": value for name, value in self._as_dict(here).items()} for _, here in pairs]
            connection.execute(_update(self._table), rows)
            self.done.changed += len(rows)

    def _as_dict(self, row: Values) -> Row:
        return dict(zip(self._names, row, strict=True))

    def _fit_to_postgres(self, row: Values) -> Values:
        """Return the row without NUL and with texts cut to their column's length, neither of which SQLite checks."""
        wrong = [
            (index, length)
            for index, length in self._longest
            if row[index] and (NUL in row[index] or len(row[index]) > length)
        ]
        if not wrong:
            return row
        values = list(row)
        for index, length in wrong:
            values[index] = values[index].replace(NUL, REPLACEMENT)[:length]
        self.done.replaced += len(wrong)
        return tuple(values)


def columns_of(table: Table) -> list[Column[Any]]:
    """Return the columns that are copied."""
    return [column for column in table.columns if column.name not in NOT_COPIED_COLUMNS.get(table.name, ())]


def _nullable_unique(table: Table) -> list[list[Column[Any]]]:
    """Return the columns of each unique constraint whose columns may be NULL."""
    unique = [list(constraint.columns) for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    return [columns for columns in unique if all(column.nullable for column in columns)]


def count(connection: Connection, table: Table, only: Sequence[Any] = ()) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*only)).scalar_one())


def batches(connection: Connection, table: Table, only: Sequence[Any] = ()) -> Iterator[list[Values]]:
    """Yield all rows in the order of their keys, at most BATCH and about HEAVY characters at a time."""
    columns, key = columns_of(table), _key(table)
    long = [index for index, column in enumerate(columns) if isinstance(column.type, Text)]
    options = {"yield_per": FETCH_ROWS} if long else {}
    last: Values | None = None
    while True:
        rows = connection.execute(_page(table, columns, last, only), execution_options=options)
        batch = _read_batch(rows, long)
        rows.close()
        if not batch:
            return
        yield batch
        last = key(batch[-1])


def _read_batch(rows: Any, long: Sequence[int]) -> list[Values]:
    batch, weight = [], 0
    for row in rows:
        batch.append(tuple(row))
        weight += sum(len(row[index] or "") for index in long)
        if weight > BATCH_CHARACTERS:
            break
    return batch


def _page(table: Table, columns: Sequence[Column[Any]], last: Values | None, only: Sequence[Any]) -> Any:
    """Return the query for the rows after `last`, in the order of the primary key's index."""
    keys = list(table.primary_key.columns)
    page = select(*columns).where(*only).order_by(*keys).limit(BATCH)
    if last is None:
        return page
    bound = (bindparam(None, value, type_=key.type) for key, value in zip(keys, last, strict=True))
    return page.where(tuple_(*keys) > tuple_(*bound))


def _key(table: Table) -> Callable[[Values], Values]:
    """Return a function that takes the key out of a row's values."""
    names = [column.name for column in columns_of(table)]
    first, *more = (names.index(column.name) for column in table.primary_key.columns)
    return itemgetter(first, *more) if more else lambda row: (row[first],)


def _select_keys(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], keys: Sequence[Values]
) -> list[Values]:
    """Return the rows with these keys, and perhaps others.

    Each part of a key is compared by itself, which both databases answer from the index.
    """
    parts = list(table.primary_key.columns)
    asked = [part.in_(sorted({key[index] for key in keys})) for index, part in enumerate(parts)]
    return [tuple(row) for row in connection.execute(select(*columns).where(*asked))]


def _delete(connection: Connection, *, table: Table, keys: Sequence[Values]) -> None:
    parts = list(table.primary_key.columns)
    if len(parts) == 1:
        connection.execute(delete(table).where(parts[0].in_([key[0] for key in keys])))
        return
    statement = delete(table).where(*(part == bindparam(f"b_{part.name}") for part in parts))
    connection.execute(statement, [{f"b_{part.name}": key[index] for index, part in enumerate(parts)} for key in keys])


def _update(table: Table) -> Any:
    keys = list(table.primary_key.columns)
    others = [column for column in columns_of(table) if not column.primary_key]
    named = (key == bindparam(f"b_{key.name}") for key in keys)
    return update(table).where(*named).values({column.name: bindparam(f"b_{column.name}") for column in others})


def _text_limits(columns: Sequence[Column[Any]]) -> list[tuple[int, int]]:
    """Return the indexes of the texts in a row, each with the length of its column."""
    return [
        (index, column.type.length or sys.maxsize)
        for index, column in enumerate(columns)
        if isinstance(column.type, String)
    ]
