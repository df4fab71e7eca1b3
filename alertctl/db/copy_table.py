"""One table's way from a database to another: read in batches, compare with what is there, write the difference."""

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
"""Rows of one transaction at most."""
HEAVY = 8_000_000
"""Characters of long text after which a batch ends: an event's fields may have megabytes."""
FETCH = 25
"""Rows that a driver holds at once where they may be long."""
OWN = {"delivery": frozenset({"change"})}
"""Columns that count what happened in one database: in another one they begin anew."""
NUL, REPLACEMENT = "\0", "\ufffd"
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(slots=True)
class Difference:
    """What was done to one table of the target. `mended`: values that it couldn't hold as they were."""

    table: str
    source: int = 0
    target: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    mended: int = 0


class Transfer:
    """One table between the source's snapshot and the target. `only`: conditions for the rows that take part.

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
        self._longest = [] if target.is_sqlite else _longest(self._columns)
        self.done = Difference(table.name, source=count(source, table, only))

    def fill(self, advance: Callable[[int], None]) -> None:
        """Write what the target lacks, and what is different there; `advance` is told of each batch's rows."""
        with self._target.reading() as connection:
            empty = connection.execute(select(self._table).limit(1)).first() is None
        for batch in batches(self._source, self._table, self._only):
            rows = [self._mended(row) for row in batch] if self._longest else batch
            self._target.write(partial(self._write, rows=rows, empty=empty))
            advance(len(rows))

    def remove(self) -> None:
        """Take rows from the target that the source hasn't any more; those that hang on them go along."""
        for gone in self.unknown():
            self._target.write(partial(_delete, table=self._table, keys=gone))
            self.done.removed += len(gone)

    def unknown(self) -> Iterator[list[Values]]:
        """The keys of the target's rows that the source doesn't have, in batches that aren't empty."""
        columns = list(self._table.primary_key.columns)
        last: Values | None = None
        while keys := self._keys_after(last):
            known = set(_among(self._source, self._table, columns, keys))
            if gone := [key for key in keys if key not in known]:
                yield gone
            last = keys[-1]

    def compare(self) -> Difference:
        """What was done, with the number of rows that the target has now."""
        with self._target.reading() as connection:
            self.done.target = count(connection, self._table, self._only)
        return self.done

    def _keys_after(self, last: Values | None) -> list[Values]:
        columns = list(self._table.primary_key.columns)
        with self._target.reading() as connection:
            return [tuple(row) for row in connection.execute(_page(self._table, columns, last, self._only))]

    def _write(self, connection: Connection, rows: Sequence[Values], *, empty: bool) -> None:
        there = [] if empty else _among(connection, self._table, self._columns, [self._key(row) for row in rows])
        same, by_key = set(there), {self._key(row): row for row in there}
        different = [row for row in rows if row not in same]
        if not empty:
            self._release(connection, different)
        self._add(connection, [row for row in different if self._key(row) not in by_key])
        self._change(connection, [(by_key[self._key(row)], row) for row in different if self._key(row) in by_key])

    def _release(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Clear what these rows have in the source and other rows still have here, such as an email that moved on.

        The other rows get their own values in this batch or a later one.
        """
        for columns in self._unique:
            values = [tuple(self._named(row)[column.name] for column in columns) for row in rows]
            if taken := [each for each in values if None not in each]:
                cleared = {column.name: None for column in columns}
                connection.execute(update(self._table).where(tuple_(*columns).in_(taken)).values(cleared))

    def _add(self, connection: Connection, rows: Sequence[Values]) -> None:
        if rows:
            # Another copy that runs at the same time may have been faster with one of them.
            statement = _INSERT[connection.dialect.name](self._table).on_conflict_do_nothing()
            connection.execute(statement, [self._named(row) for row in rows])
            self.done.added += len(rows)

    def _change(self, connection: Connection, pairs: Sequence[tuple[Values, Values]]) -> None:
        for there, here in pairs:
            self._refuse(self._named(there), self._named(here))
        if pairs:
            rows = [{f"b_{name}": value for name, value in self._named(here).items()} for _, here in pairs]
            connection.execute(_update(self._table), rows)
            self.done.changed += len(rows)

    def _named(self, row: Values) -> Row:
        return dict(zip(self._names, row, strict=True))

    def _mended(self, row: Values) -> Values:
        """The row as Postgres can hold it: no NUL, no text beyond a column's length. SQLite minds neither."""
        wrong = [(at, length) for at, length in self._longest if row[at] and (NUL in row[at] or len(row[at]) > length)]
        if not wrong:
            return row
        values = list(row)
        for at, length in wrong:
            values[at] = values[at].replace(NUL, REPLACEMENT)[:length]
        self.done.mended += len(wrong)
        return tuple(values)


def columns_of(table: Table) -> list[Column[Any]]:
    """The columns that are copied."""
    return [column for column in table.columns if column.name not in OWN.get(table.name, ())]


def _nullable_unique(table: Table) -> list[list[Column[Any]]]:
    """The unique constraints whose columns may be NULL."""
    unique = [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [columns for columns in unique if all(column.nullable for column in columns)]


def count(connection: Connection, table: Table, only: Sequence[Any] = ()) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*only)).scalar_one())


def batches(connection: Connection, table: Table, only: Sequence[Any] = ()) -> Iterator[list[Values]]:
    """All rows in the order of their keys, at most BATCH and about HEAVY characters at a time."""
    columns, key = columns_of(table), _key(table)
    long = [at for at, column in enumerate(columns) if isinstance(column.type, Text)]
    options = {"yield_per": FETCH} if long else {}
    last: Values | None = None
    while True:
        found = connection.execute(_page(table, columns, last, only), execution_options=options)
        batch = _taken(found, long)
        found.close()
        if not batch:
            return
        yield batch
        last = key(batch[-1])


def _taken(found: Any, long: Sequence[int]) -> list[Values]:
    batch, weight = [], 0
    for row in found:
        batch.append(tuple(row))
        weight += sum(len(row[at] or "") for at in long)
        if weight > HEAVY:
            break
    return batch


def _page(table: Table, columns: Sequence[Column[Any]], last: Values | None, only: Sequence[Any]) -> Any:
    """The rows after `last`, by the primary key's index and in the database's own order of texts."""
    keys = list(table.primary_key.columns)
    page = select(*columns).where(*only).order_by(*keys).limit(BATCH)
    if last is None:
        return page
    bound = (bindparam(None, value, type_=key.type) for key, value in zip(keys, last, strict=True))
    return page.where(tuple_(*keys) > tuple_(*bound))


def _key(table: Table) -> Callable[[Values], Values]:
    """Takes the key out of a row's values."""
    names = [column.name for column in columns_of(table)]
    first, *more = (names.index(column.name) for column in table.primary_key.columns)
    return itemgetter(first, *more) if more else lambda row: (row[first],)


def _among(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], keys: Sequence[Values]
) -> list[Values]:
    """The rows with these keys, and perhaps some more: each part of a key is asked for by itself, which both databases
    answer from the index."""
    parts = list(table.primary_key.columns)
    asked = [part.in_(sorted({key[at] for key in keys})) for at, part in enumerate(parts)]
    return [tuple(row) for row in connection.execute(select(*columns).where(*asked))]


def _delete(connection: Connection, *, table: Table, keys: Sequence[Values]) -> None:
    parts = list(table.primary_key.columns)
    if len(parts) == 1:
        connection.execute(delete(table).where(parts[0].in_([key[0] for key in keys])))
        return
    statement = delete(table).where(*(part == bindparam(f"b_{part.name}") for part in parts))
    connection.execute(statement, [{f"b_{part.name}": key[at] for at, part in enumerate(parts)} for key in keys])


def _update(table: Table) -> Any:
    keys = list(table.primary_key.columns)
    others = [column for column in columns_of(table) if not column.primary_key]
    named = (key == bindparam(f"b_{key.name}") for key in keys)
    return update(table).where(*named).values({column.name: bindparam(f"b_{column.name}") for column in others})


def _longest(columns: Sequence[Column[Any]]) -> list[tuple[int, int]]:
    """The places of the texts in a row, each with how many characters its column takes."""
    return [
        (at, column.type.length or sys.maxsize) for at, column in enumerate(columns) if isinstance(column.type, String)
    ]
