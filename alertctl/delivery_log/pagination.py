"""Read pages of the log, and count the deliveries that match a filter."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, func, select

from alertctl.delivery_log.filters import add_id_lead, id_range, is_about_events, normalized, time_conditions
from alertctl.delivery_log.query import RowRange, all_conditions, fetch_rows, grep_end, values_without_index
from alertctl.delivery_log.tables import ITEM, build_item, delivery, delivery_count
from alertctl.errors import InvalidEvent
from alertctl.ids import first_id
from alertctl.schemas import LogFilter, Page

MAX_OFFSET = 10**9
"""The last row that a page number reaches; a cursor reaches further."""
COUNTED_COLUMNS = {name: delivery_count.c[name] for name in ("event_type", "channel", "status")}
"""The filters, alone or together, whose count the database keeps (migration 0002)."""


def page(
    connection: Connection,
    where: LogFilter,
    *,
    limit: int = 20,
    page: int = 1,
    cursor: str | None = None,
    count: bool = True,
) -> Page:
    """Return a page, newest first, in a stable order.

    `cursor` (a page's `next_cursor`) costs the same at any depth and takes precedence over `page`. `total` is None
    without `count`, and with `grep` when more than `query.GREP_ROWS` rows would have to be searched. A page searches
    that many at most: with `grep` it may have fewer rows than `limit` although there is a next page.
    """
    if where.grep is not None and page != 1:
        raise InvalidEvent("page", "should be 1 with grep: next_cursor goes on")
    where = normalized(connection, where)
    # A page number is an offset, a cursor an id: only the cursor costs the same everywhere.
    row_range = RowRange(limit + 1, high=cursor) if cursor else RowRange(limit + 1, min((page - 1) * limit, MAX_OFFSET))
    searched_to = grep_end(connection, where, row_range)
    rows = fetch_rows(connection, where, ITEM, replace(row_range, low=searched_to))
    return Page(
        items=[build_item(row) for row in rows[:limit]],
        total=total(connection, where) if count else None,
        page=page,
        limit=limit,
        next_cursor=rows[limit - 1].id if len(rows) > limit else searched_to or None,
    )


def total(connection: Connection, where: LogFilter) -> int | None:
    """Return how many deliveries match a normalized filter: from the kept counts if possible, else counted by index.

    None with `grep` in a log so long that no page searches all of it.
    """
    filters = where.conditions().keys()
    if grep_end(connection, where, RowRange(1)):
        return None
    if filters - {"final"} <= COUNTED_COLUMNS.keys():
        return _kept_count(connection, where)
    # A condition on the event leaves fewer rows than any index on the delivery's own columns.
    timeless = replace(where, since=None, until=None)
    same = all_conditions(connection, timeless, by_index=not is_about_events(where))
    counts = (
        select(func.count()).select_from(delivery).where(*same, *time_range).scalar_subquery()
        for time_range in _time_ranges(where)
    )
    return sum(connection.execute(select(*counts)).one())


def _kept_count(connection: Connection, where: LogFilter) -> int:
    """Return the sum of the kept counts, without those that `final` excludes."""
    values = where.conditions()
    same = [column == values[name] for name, column in COUNTED_COLUMNS.items() if name in values]
    kept = select(func.coalesce(func.sum(delivery_count.c.number), 0)).where(*same)
    count: ColumnElement[int] = kept.scalar_subquery()
    if where.final:
        waiting = (*values_without_index(connection, where), delivery.c.next_attempt_at.is_not(None))
        count = count - select(func.count()).select_from(delivery).where(*waiting).scalar_subquery()
    return int(connection.execute(select(count)).scalar_one())


def _time_ranges(where: LogFilter) -> list[list[ColumnElement[bool]]]:
    """Divide the filter's times so that only the edges read the rows' own times; elsewhere the id is enough."""
    since = where.since
    until = where.until
    key = delivery.c.id
    if since is None and until is None:
        return [[]]
    low, high = id_range(where)
    inner_low = first_id(add_id_lead(since)) if since is not None else low
    inner_high = first_id(until) if until is not None else high
    if inner_low >= inner_high:
        return [time_conditions(where)]
    parts = [[key >= inner_low, key < inner_high]]
    if since is not None:
        parts.append([key >= low, key < inner_low, delivery.c.created_at >= since])
    if until is not None:
        parts.append([key >= inner_high, key < high, delivery.c.created_at < until])
    return parts


def parse_cursor(text: str) -> str:
    """Return a caller's cursor unchanged if it is valid. Raises InvalidEvent."""
    if not text or len(text) > 36 or set(text) - set("0123456789abcdef-"):
        raise InvalidEvent("cursor", "should be the next_cursor of an earlier page")
    return text
