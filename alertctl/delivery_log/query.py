"""Deliveries in the order of their ids, always along the index that fits the filter.

Planners need help with that. Postgres believes that what is frequent is frequent everywhere, and looks for the newest
20 mails by reading the whole log backwards: days of it, if email was switched off a month ago. There a range of rows
(`(status, id) < ('failed', …)`) and the order of just that index leave it no other way. SQLite takes any index that
fits, however many rows it leaves: there the other columns are hidden from it by a plus sign.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, String, bindparam, select, tuple_

from alertctl.delivery_log.filters import AHEAD, BEHIND, COLUMNS, about, later, others, span, times, unindexed
from alertctl.delivery_log.tables import delivery, event
from alertctl.ids import first_id
from alertctl.schemas import LogFilter

WAYS = (
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
"""What the indexes begin with (each ends with the id), those that leave the fewest rows first."""

GREP_ROWS = 100_000
"""Deliveries that are looked through for a text at once, so that none of it lasts long; the next part goes on there."""


@dataclass(frozen=True, slots=True)
class Part:
    """Of what fits, ids from `low` on and below `high`: `limit` of them behind `offset`, newest first or last."""

    limit: int
    offset: int = 0
    low: str = ""
    high: str = BEHIND
    newest_first: bool = True

    def within(self, where: LogFilter) -> Part:
        """The same with the times that the filter asks for."""
        low, high = span(where)
        return replace(self, low=max(low, self.low), high=min(high, self.high))

    def order(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [one.desc() if self.newest_first else one.asc() for one in columns]

    def of(self, rows: Select[Any], *order: ColumnElement[Any]) -> Select[Any]:
        return rows.order_by(*self.order(*order)).limit(self.limit).offset(self.offset)


def ordered(
    connection: Connection,
    where: LogFilter,
    columns: Sequence[Any],
    part: Part,
    more: Sequence[ColumnElement[bool]] = (),
) -> Sequence[Any]:
    """These columns of a part of what fits a settled filter, and `more`."""
    part = part.within(where)
    # SQLite would look through all that is retrying for each of the events.
    by_index = not about(where) or connection.dialect.name != "sqlite"
    rest = [*times(where), *others(where, by_index=by_index), *more]
    if about(where):
        return _of_events(connection, where, columns, part, [*hidden(connection, where), *rest])
    names, given = way(where), where.conditions()
    within, order = _range(connection, [(COLUMNS[name], given[name]) for name in names], delivery.c.id, part)
    rows = select(*columns).where(*within, *hidden(connection, where, names), *rest)
    return connection.execute(part.of(rows, *order)).all()


def grep_end(connection: Connection, where: LogFilter, part: Part) -> str:
    """The id up to which a part of what `grep` finds is looked for; empty: to the end."""
    if where.grep is None:
        return ""
    far = replace(part, limit=1, offset=GREP_ROWS - 1)
    last = ordered(connection, replace(where, grep=None), (delivery.c.id,), far)
    return str(last[0].id) if last else ""


def behind(one: str) -> str:
    """A bound that this id is before and the next isn't; of none it is none."""
    return f"{one}{BEHIND}" if one else ""


def way(where: LogFilter) -> tuple[str, ...]:
    """The columns of the index that leaves the fewest rows; none: the order of the ids themselves."""
    given = where.conditions().keys()
    return next((names for names in WAYS if given >= set(names)), ())


def counting(connection: Connection, where: LogFilter) -> list[ColumnElement[bool]]:
    """The values that are asked for, where the order doesn't matter."""
    names, given = way(where), where.conditions()
    return [*(COLUMNS[name] == given[name] for name in names), *hidden(connection, where, names)]


def hidden(connection: Connection, where: LogFilter, but: Collection[str] = ()) -> list[ColumnElement[bool]]:
    """The values that are asked for, `but` some, so that SQLite takes no index for their sake."""
    given = where.conditions()
    asked = [(column, given[name]) for name, column in COLUMNS.items() if name in given and name not in but]
    if connection.dialect.name != "sqlite":
        return [column == value for column, value in asked]
    return [unindexed(column) == value for column, value in asked]


def _range(
    connection: Connection, pairs: Sequence[tuple[Column[Any], str]], key: Column[Any], part: Part
) -> tuple[list[ColumnElement[bool]], Sequence[ColumnElement[Any]]]:
    """A part of the index on these columns and the key behind them, and what it is ordered by."""
    if connection.dialect.name == "sqlite":
        return [*(column == value for column, value in pairs), key >= part.low, key < part.high], [key]
    columns = [*(column for column, _ in pairs), key]
    row, values = tuple_(*columns), [value for _, value in pairs]
    low, high = (tuple_(*(bindparam(None, one, String) for one in (*values, end))) for end in (part.low, part.high))
    # What a comparison of rows implies, but Postgres doesn't see, and a partial index asks for.
    present = [column.is_not(None) for column, _ in pairs if column.nullable]
    return [*present, row >= low, row < high], columns


def _of_events(
    connection: Connection, where: LogFilter, columns: Sequence[Any], part: Part, rest: Sequence[ColumnElement[bool]]
) -> Sequence[Any]:
    """Along the events that it is about: the first ones that have so many deliveries, then those in their order."""
    fitting = [delivery.c.id >= part.low, delivery.c.id < part.high, *rest]
    first, *more = about(where)
    # A delivery's id is made behind its event's, and no more than AHEAD of its time.
    known = replace(part, low=_before(part.low))
    within, order = _range(connection, [first], event.c.id, known)
    asked = [*within, *(column == value for column, value in more)]
    enough = select(event.c.id).join(delivery, delivery.c.event_id == event.c.id).where(*asked, *fitting)
    far = replace(part, offset=part.offset + part.limit - 1, limit=1)
    last = connection.execute(far.of(enough, *order)).scalar()
    if last is not None:
        asked.append(event.c.id >= _before(last) if part.newest_first else event.c.id < _after(last))
    # Not by the id itself: for that order Postgres would go along the whole log.
    rows = select(*columns).where(delivery.c.event_id.in_(select(event.c.id).where(*asked)), *fitting)
    return connection.execute(part.of(rows, delivery.c.id + "")).all()


def _before(one: str) -> str:
    """An id that is before all events which have a delivery from this id on."""
    made = _made_at(one)
    return first_id(made - AHEAD) if made is not None else ""


def _after(one: str) -> str:
    """An id behind the deliveries of this event, and behind all that were made in its time."""
    made = _made_at(one)
    return first_id(later(made)) if made is not None else BEHIND


def _made_at(one: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(one.replace("-", "")[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError):
        return None
