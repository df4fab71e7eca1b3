"""Follow the log: what has changed since a position, each state once, none missed.

A position is text that only this module reads. It points into the changes, or into the history that a follower asked
for first (`since`). There it also holds where the changes begin, so that a follower can stop and resume anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, or_, select, text

from alertctl.delivery_log.filters import MAX_ID, normalized
from alertctl.delivery_log.query import RowRange, all_conditions, end_at, fetch_rows, grep_end
from alertctl.delivery_log.tables import ITEM, build_item, change_counter, delivery, item_fields
from alertctl.errors import InvalidEvent
from alertctl.models import Status
from alertctl.schemas import DeliveryItem, LogFilter

Changes = tuple[list[tuple[str, DeliveryItem]], str]
"""Deliveries, each with the position after it, and the position up to which all were read."""
_POSITION = re.compile(r"([hc])~([0-9]{1,19})~([0-9a-fg-]{0,36})")
MAX_BIGINT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """In the history: after the row `id`, among rows whose change is at most `change`. Else after (`change`, `id`)."""

    history: bool
    change: int
    id: str

    def __str__(self) -> str:
        return f"{'h' if self.history else 'c'}~{self.change}~{self.id}"


def position(connection: Connection, *, history: bool = False) -> str:
    """Return the position at the log's end, or with `history` at its beginning."""
    return str(Position(history, _last_settled_change(connection), "" if history else MAX_ID))


def parse_position(value: str) -> Position:
    """Return the position that a caller sent. Raises InvalidEvent."""
    match = _POSITION.fullmatch(value)
    if match is None or int(match[2]) > MAX_BIGINT:
        raise InvalidEvent("Last-Event-ID", "should be the id of an event of this stream")
    return Position(match[1] == "h", int(match[2]), match[3])


def _last_settled_change(connection: Connection) -> int:
    """Return the last change before which no open transaction can still add another."""
    if connection.dialect.name == "sqlite":
        return int(connection.execute(select(change_counter.c.number)).scalar_one())
    return int(connection.execute(_OLDEST_OPEN).scalar_one()) - 1


_OLDEST_OPEN = text("""
WITH now AS (
    SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS oldest,
           CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS next
), others AS (
    SELECT usesysid, CAST(CAST(backend_xid AS text) AS bigint) - next % 4294967296 AS ahead
    FROM pg_stat_activity, now
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
), strangers AS (
    SELECT 1 FROM others, pg_roles
    WHERE rolname = current_user AND usesysid IS DISTINCT FROM oid AND NOT pg_has_role('pg_read_all_stats', 'MEMBER')
)
SELECT CASE
    WHEN EXISTS (SELECT 1 FROM strangers) THEN oldest
    -- `ahead` counts in a ring of 2^32; what began after the snapshot is ahead of `next` and doesn't matter.
    ELSE next + coalesce((SELECT min(least(0, (ahead + 6442450944) % 4294967296 - 2147483648)) FROM others), 0)
END + (SELECT number FROM change_counter) FROM now
""")
"""The number of the oldest transaction that is open in this database, else the next one that will be.

The snapshot's own oldest is of all the server's databases: a long report in another database would hold up our
followers. It is used only where another role works in this database whose transactions we may not see.
"""


def changes(connection: Connection, where: LogFilter, after: str, limit: int = 500) -> Changes:
    """Return deliveries in the order in which they got their present state. Fewer than `limit`: no more for now.

    Deliveries that are being sent are skipped: their result is a change of its own. Raises InvalidEvent for a bad
    position.
    """
    start, where = parse_position(after), normalized(connection, where)
    read = _read_history if start.history else _read_changes
    return read(connection, where, start, limit)


def _read_history(connection: Connection, where: LogFilter, start: Position, limit: int) -> Changes:
    row_range = RowRange(limit, low=end_at(start.id), newest_first=False)
    end = grep_end(connection, where, row_range)
    visible = (delivery.c.change <= start.change, delivery.c.status != Status.SENDING.value)
    rows = fetch_rows(connection, where, ITEM, replace(row_range, high=end_at(end) or MAX_ID), visible)
    items = [(str(Position(True, start.change, row.id)), build_item(row)) for row in rows]
    if len(items) == limit:
        return items, items[-1][0]
    return items, str(Position(True, start.change, end) if end else Position(False, start.change, MAX_ID))


def _read_changes(connection: Connection, where: LogFilter, start: Position, limit: int) -> Changes:
    last_change = _last_settled_change(connection)
    if last_change < start.change:
        # A full page ended within a change: stay there, don't skip the rest of that change.
        return [], str(start)
    after_start = or_(
        delivery.c.change > start.change, and_(delivery.c.change == start.change, delivery.c.id > start.id)
    )
    in_range = (after_start, delivery.c.change >= start.change, delivery.c.change <= last_change)
    matching = all_conditions(connection, where, by_index=False, by_event=False)
    rows = select(*ITEM, delivery.c.change).where(*in_range, *matching, delivery.c.status != Status.SENDING.value)
    items: list[tuple[str, DeliveryItem]] = []
    for row in connection.execute(rows.order_by(delivery.c.change, delivery.c.id).limit(limit)):
        fields = item_fields(row)
        row_position = Position(False, fields.pop("change"), row.id)
        items.append((str(row_position), DeliveryItem(**fields)))
    if len(items) == limit:
        return items, items[-1][0]
    return items, str(Position(False, last_change, MAX_ID))
