"""Pages of the log, and how many deliveries there are."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, func, literal, select

from alertctl.delivery_log.filters import about, later, of_events, others, settled, span, times
from alertctl.delivery_log.query import Part, counting, grep_end, hidden, ordered
from alertctl.delivery_log.tables import ITEM, delivery, item, tally
from alertctl.errors import InvalidEvent
from alertctl.ids import first_id
from alertctl.schemas import LogFilter, Page

DEEPEST = 10**9
"""The last row that a page number reaches; a cursor goes on."""
COUNTED = {"event_type": tally.c.event_type, "channel": tally.c.channel, "status": tally.c.status}
"""The filters, alone or together, whose count is kept (migration 0002)."""


def page(
    connection: Connection,
    where: LogFilter,
    *,
    limit: int = 20,
    page: int = 1,
    cursor: str | None = None,
    count: bool = True,
) -> Page:
    """Newest first, in a stable order. `cursor` (a page's `next_cursor`) costs the same at any depth and wins.

    `total` is None without `count` (whoever walks along needn't count each time), and with `grep` where it would be
    looked for in more than `ordered.GREP_ROWS`. So many a page looks through at most: with `grep` it may have fewer
    rows than `limit` though there is a next one.
    """
    if where.grep is not None and page != 1:
        raise InvalidEvent("page", "should be 1 with grep: next_cursor goes on")
    where = settled(connection, where)
    # A page number begins at an offset, a cursor at an id: only the second costs the same everywhere.
    part = Part(limit + 1, high=cursor) if cursor else Part(limit + 1, min((page - 1) * limit, DEEPEST))
    end = grep_end(connection, where, part)
    rows = ordered(connection, where, ITEM, replace(part, low=end))
    return Page(
        items=[item(row) for row in rows[:limit]],
        total=total(connection, where) if count else None,
        page=page,
        limit=limit,
        next_cursor=rows[limit - 1].id if len(rows) > limit else end or None,
    )


def total(connection: Connection, where: LogFilter) -> int | None:
    """How many deliveries fit a settled filter, exactly: from the kept counts where they can tell, else counted along
    an index. None with `grep` in a log so long that no page looks through all of it."""
    given = where.given().keys()
    if grep_end(connection, where, Part(1)):
        return None
    if given - {"final"} <= COUNTED.keys():
        return int(connection.execute(select(_kept(where) - _waiting(connection, where))).scalar_one())
    # The events that it is about leave fewer rows than any index on the deliveries' own columns.
    values = hidden(connection, where) if about(where) else counting(connection, where)
    same = [*values, *others(where), *of_events(where)]
    counts = (
        select(func.count()).select_from(delivery).where(*same, *part).scalar_subquery() for part in _parts(where)
    )
    return sum(connection.execute(select(*counts)).one())


def _kept(where: LogFilter) -> ColumnElement[int]:
    given = where.given()
    same = [column == given[name] for name, column in COUNTED.items() if name in given]
    return select(func.coalesce(func.sum(tally.c.number), 0)).where(*same).scalar_subquery()


def _waiting(connection: Connection, where: LogFilter) -> ColumnElement[int]:
    """Those that `final` leaves out of the kept counts."""
    if not where.final:
        return literal(0)
    waiting = (*hidden(connection, where), delivery.c.next_attempt_at.is_not(None))
    return select(func.count()).select_from(delivery).where(*waiting).scalar_subquery()


def _parts(where: LogFilter) -> list[list[ColumnElement[bool]]]:
    """The times asked for, so that rows' own times are read at the edges only: elsewhere the id says enough."""
    since, until, key = where.since, where.until, delivery.c.id
    if since is None and until is None:
        return [[]]
    low, high = span(where)
    inner_low = first_id(later(since)) if since is not None else low
    inner_high = first_id(until) if until is not None else high
    if inner_low >= inner_high:
        return [times(where)]
    parts = [[key >= inner_low, key < inner_high]]
    if since is not None:
        parts.append([key >= low, key < inner_low, delivery.c.created_at >= since])
    if until is not None:
        parts.append([key >= inner_high, key < high, delivery.c.created_at < until])
    return parts


def parse_cursor(text: str) -> str:
    """A cursor as a caller gave it. Raises InvalidEvent."""
    if not text or len(text) > 36 or set(text) - set("0123456789abcdef-"):
        raise InvalidEvent("cursor", "should be the next_cursor of an earlier page")
    return text
