"""Read deliveries in the order of their ids, always along the index that fits the filter.

The query planners need help. Postgres assumes that a frequent value is frequent everywhere: it would find the newest 20
emails by reading the log backwards, through a month of it if email was switched off a month ago. A comparison of rows
(`(status, id) < ('failed', …)`) and the order of that index leave it no other plan. SQLite takes any index that fits,
however many rows that leaves: a plus sign before the other columns keeps it from using theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, String, bindparam, func, select, tuple_

from alertctl.delivery_log.filters import (
    COLUMNS,
    ID_LEAD,
    MAX_ID,
    add_id_lead,
    event_conditions,
    event_index,
    id_range,
    is_about_events,
    other_conditions,
    time_conditions,
    without_index,
)
from alertctl.delivery_log.tables import delivery
from alertctl.ids import first_id
from alertctl.schemas import LogFilter

INDEXES = (
    ("event_id",),
    ("user",),
    ("to", "error"),
    ("to", "status"),
    ("to", "event_type"),
    ("to",),
    ("error",),
    ("channel", "status"),
    ("channel", "event_type"),
    ("status", "event_type"),
    ("status",),
    ("event_type",),
    ("channel",),
)
"""The leading columns of the indexes (each ends with the id), the most selective first."""

GREP_ROWS = 100_000
"""Deliveries that one query searches for a text, so that none takes long; the next page goes on from there."""


@dataclass(frozen=True, slots=True)
class RowRange:
    """Which of the matching rows to read: ids from `low` on and below `high`, then `offset`, `limit` and the order."""

    limit: int
    offset: int = 0
    low: str = ""
    high: str = MAX_ID
    newest_first: bool = True

    def within(self, where: LogFilter) -> RowRange:
        """Return the range narrowed to the filter's `since` and `until`."""
        low, high = id_range(where)
        return replace(self, low=max(low, self.low), high=min(high, self.high))

    def apply(self, rows: Select[Any], *order: ColumnElement[Any]) -> Select[Any]:
        ordered = (column.desc() if self.newest_first else column.asc() for column in order)
        return rows.order_by(*ordered).limit(self.limit).offset(self.offset)


def fetch_rows(
    connection: Connection,
    where: LogFilter,
    columns: Sequence[Any],
    row_range: RowRange,
    more: Sequence[ColumnElement[bool]] = (),
) -> Sequence[Any]:
    """Return these columns of the rows in the range that match a normalized filter and the conditions `more`."""
    row_range = row_range.within(where)
    # By index, SQLite would read all retrying deliveries once for each event.
    by_index = not is_about_events(where) or connection.dialect.name != "sqlite"
    more_conditions = [*time_conditions(where), *other_conditions(where, by_index=by_index), *more]
    if is_about_events(where):
        return _fetch_by_event(
            connection, where, columns, row_range, [*values_without_index(connection, where), *more_conditions]
        )
    names, values = index_for(where), where.conditions()
    within, order = _index_range(
        connection, [(COLUMNS[name], values[name]) for name in names], delivery.c.id, row_range
    )
    rows = select(*columns).where(*within, *values_without_index(connection, where, names), *more_conditions)
    return connection.execute(row_range.apply(rows, *order)).all()


def grep_end(connection: Connection, where: LogFilter, row_range: RowRange) -> str:
    """Return the id at which a search for `grep` stops for now; empty if it reaches the end."""
    if where.grep is None:
        return ""
    last_searched = replace(row_range, limit=1, offset=GREP_ROWS - 1)
    rows = fetch_rows(connection, replace(where, grep=None), (delivery.c.id,), last_searched)
    return str(rows[0].id) if rows else ""


def end_at(last_id: str) -> str:
    """Return an upper bound that includes this id but not the next one; empty for an empty id."""
    return f"{last_id}{MAX_ID}" if last_id else ""


def index_for(where: LogFilter) -> tuple[str, ...]:
    """Return the leading columns of the most selective index; empty for the order of the ids themselves."""
    filters = where.conditions().keys()
    return next((names for names in INDEXES if filters >= set(names)), ())


def all_conditions(
    connection: Connection, where: LogFilter, *, by_index: bool = True, by_event: bool = True
) -> list[ColumnElement[bool]]:
    """Return the conditions of a normalized filter, for a query whose order doesn't matter.

    `by_index`: along an index on the delivery's columns. `by_event`: along an index on its event's.
    """
    names, values = index_for(where) if by_index else (), where.conditions()
    return [
        *(COLUMNS[name] == values[name] for name in names),
        *values_without_index(connection, where, names),
        *time_conditions(where),
        *other_conditions(where),
        *event_conditions(where, by_index=by_event),
    ]


def values_without_index(
    connection: Connection, where: LogFilter, except_for: Collection[str] = ()
) -> list[ColumnElement[bool]]:
    """Return the comparisons with values, `except_for` some, so that SQLite uses no index for them."""
    values = where.conditions()
    pairs = [(column, values[name]) for name, column in COLUMNS.items() if name in values and name not in except_for]
    if connection.dialect.name != "sqlite":
        return [column == value for column, value in pairs]
    return [without_index(column) == value for column, value in pairs]


def _index_range(
    connection: Connection, pairs: Sequence[tuple[Column[Any], str]], key: Column[Any], row_range: RowRange
) -> tuple[list[ColumnElement[bool]], Sequence[ColumnElement[Any]]]:
    """Return the conditions for a range of the index on these columns and the key, and its order."""
    if connection.dialect.name == "sqlite":
        # `likely`: otherwise SQLite 3.53 thinks that the range leaves few rows, and takes an index of fewer columns.
        within = [func.likely(key >= row_range.low), func.likely(key < row_range.high)]
        return [*(column == value for column, value in pairs), *within], [key]
    columns = [*(column for column, _ in pairs), key]
    row, values = tuple_(*columns), [value for _, value in pairs]
    low, high = (
        tuple_(*(bindparam(None, value, String) for value in (*values, end))) for end in (row_range.low, row_range.high)
    )
    # A comparison of rows implies this, but Postgres doesn't see it, and a partial index requires it.
    present = [column.is_not(None) for column, _ in pairs if column.nullable]
    return [*present, row >= low, row < high], columns


def _fetch_by_event(
    connection: Connection,
    where: LogFilter,
    columns: Sequence[Any],
    row_range: RowRange,
    conditions: Sequence[ColumnElement[bool]],
) -> Sequence[Any]:
    """Read along the events that match: the first ones that have enough deliveries, then these deliveries in order."""
    of_delivery = [delivery.c.id >= row_range.low, delivery.c.id < row_range.high, *conditions]
    values, key, others = event_index(where)
    # A delivery's id is made after its event's, and is at most ID_LEAD ahead of its time.
    event_range = replace(row_range, low=_first_event_id(row_range.low))
    within, order = _index_range(connection, values, key, event_range)
    of_event = [*within, *others]
    candidates = select(key).join(delivery, delivery.c.event_id == key).where(*of_event, *of_delivery)
    last_row = replace(row_range, offset=row_range.offset + row_range.limit - 1, limit=1)
    last = connection.execute(last_row.apply(candidates, *order)).scalar()
    if last is not None:
        of_event.append(key >= _first_event_id(last) if row_range.newest_first else key < _event_id_end(last))
    # Ordered by an expression: for the order of the id itself Postgres would read the whole log.
    rows = select(*columns).where(delivery.c.event_id.in_(select(key).where(*of_event)), *of_delivery)
    return connection.execute(row_range.apply(rows, delivery.c.id + "")).all()


def _first_event_id(delivery_id: str) -> str:
    """Return an id before all events that have a delivery from this id on."""
    made = _time_of(delivery_id)
    return first_id(made - ID_LEAD) if made is not None else ""


def _event_id_end(event_id: str) -> str:
    """Return an id after this event's deliveries and all that were made at the same time."""
    made = _time_of(event_id)
    return first_id(add_id_lead(made)) if made is not None else MAX_ID


def _time_of(row_id: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(row_id.replace("-", "")[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError):
        return None
