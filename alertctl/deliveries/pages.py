"""Pages of the log, and how many deliveries there are."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from alertctl.deliveries.filters import conditions
from alertctl.deliveries.rows import ITEM, delivery, item, tally
from alertctl.errors import InvalidEvent
from alertctl.schemas import LogFilter, Page

DEEPEST = 10**9
"""The last row that a page number reaches; a cursor goes on."""
COUNTED = {"event_type": tally.c.event_type, "channel": tally.c.channel, "status": tally.c.status}
"""The filters, alone or together, whose count is kept (migration 0002)."""


def page(
    connection: Connection, where: LogFilter, *, limit: int = 20, page: int = 1, cursor: str | None = None
) -> Page:
    """Newest first, in a stable order. `cursor` (a page's `next_cursor`) costs the same at any depth and wins."""
    rows = select(*ITEM).where(*conditions(where)).order_by(delivery.c.id.desc()).limit(limit + 1)
    # A page number begins at an offset, a cursor at an id: only the second costs the same everywhere.
    rows = rows.offset(min((page - 1) * limit, DEEPEST)) if cursor is None else rows.where(delivery.c.id < cursor)
    found = [item(row) for row in connection.execute(rows)]
    more = found[limit - 1].id if len(found) > limit else None
    return Page(items=found[:limit], total=total(connection, where), page=page, limit=limit, next_cursor=more)


def total(connection: Connection, where: LogFilter) -> int:
    """How many deliveries fit, exactly: from the kept counts where they can tell, else counted along an index."""
    given = where.given()
    if given.keys() <= COUNTED.keys():
        same = [COUNTED[name] == value for name, value in given.items()]
        kept = select(func.coalesce(func.sum(tally.c.number), 0)).where(*same)
        return int(connection.execute(kept).scalar_one())
    counted = select(func.count()).select_from(delivery).where(*conditions(where))
    return int(connection.execute(counted).scalar_one())


def the_cursor(text: str) -> str:
    """A cursor as a caller gave it. Raises InvalidEvent."""
    if not text or len(text) > 36 or set(text) - set("0123456789abcdef-"):
        raise InvalidEvent("cursor", "should be the next_cursor of an earlier page")
    return text
