"""Following the log: what has changed since a position, each state once, none missed.

A position is text that only this module reads. It stands either among the changes, or still in the history that a
follower wanted first (`since`); there it also holds where the changes go on, so that a follower can break off anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, or_, select, text

from alertctl.delivery_log.filters import BEHIND, of_events, others, settled, times
from alertctl.delivery_log.query import Part, behind, grep_end, hidden, ordered
from alertctl.delivery_log.tables import ITEM, delivery, facts, item, tick
from alertctl.errors import InvalidEvent
from alertctl.models import Status
from alertctl.schemas import DeliveryItem, LogFilter

_POSITION = re.compile(r"([hc])~([0-9]{1,19})~([0-9a-fg-]{0,36})")
HIGHEST = 2**63 - 1
"""What a database takes as a number."""


@dataclass(frozen=True, slots=True)
class _Position:
    """In the history: behind the row `id`, of rows whose change is `change` at most. Else behind (`change`, `id`)."""

    history: bool
    change: int
    id: str

    def __str__(self) -> str:
        return f"{'h' if self.history else 'c'}~{self.change}~{self.id}"


def position(connection: Connection, *, history: bool = False) -> str:
    """Where the log ends now; with `history` at the beginning of what there is already."""
    return str(_Position(history, _horizon(connection), "" if history else BEHIND))


def parse_position(words: str) -> str:
    """A position as a caller gave it. Raises InvalidEvent."""
    _read(words)
    return words


def _read(words: str) -> _Position:
    found = _POSITION.fullmatch(words)
    if found is None or int(found[2]) > HIGHEST:
        raise InvalidEvent("Last-Event-ID", "should be the id of an event of this stream")
    return _Position(found[1] == "h", int(found[2]), found[3])


def _horizon(connection: Connection) -> int:
    """The last change that surely no open transaction can still precede."""
    if connection.dialect.name == "sqlite":
        return int(connection.execute(select(tick.c.number)).scalar_one())
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
END + (SELECT number FROM tick) FROM now
""")
"""The number of the oldest transaction that is open in this database, else the next one that will be.

The snapshot's own oldest is of all the server's databases: somebody's long report elsewhere would hold up our
followers. It has to do where another role works in this database whose transactions we may not see.
"""


def changes(
    connection: Connection, where: LogFilter, after: str, limit: int = 500
) -> tuple[list[tuple[str, DeliveryItem]], str]:
    """Deliveries in the order in which they got the state they are in, each with the position behind it; and the
    position that all of them were read up to. Fewer than `limit`: that is all for now.

    What is being sent is passed over: its verdict is a change of its own. Raises InvalidEvent for a bad position.
    """
    start, where = _read(after), settled(connection, where)
    return _history(connection, where, start, limit) if start.history else _changed(connection, where, start, limit)


def _history(
    connection: Connection, where: LogFilter, start: _Position, limit: int
) -> tuple[list[tuple[str, DeliveryItem]], str]:
    part = Part(limit, low=behind(start.id), newest_first=False)
    end = grep_end(connection, where, part)
    told = (delivery.c.change <= start.change, delivery.c.status != Status.SENDING.value)
    rows = ordered(connection, where, ITEM, replace(part, high=behind(end) or BEHIND), told)
    found = [(str(_Position(True, start.change, row.id)), item(row)) for row in rows]
    if len(found) == limit:
        return found, found[-1][0]
    return found, str(_Position(True, start.change, end) if end else _Position(False, start.change, BEHIND))


def _changed(
    connection: Connection, where: LogFilter, start: _Position, limit: int
) -> tuple[list[tuple[str, DeliveryItem]], str]:
    horizon = _horizon(connection)
    if horizon < start.change:
        # Not on to the end of a change that a full page broke off in.
        return [], str(start)
    new = or_(delivery.c.change > start.change, and_(delivery.c.change == start.change, delivery.c.id > start.id))
    told = (new, delivery.c.change >= start.change, delivery.c.change <= horizon)
    wanted = (*hidden(connection, where), *times(where), *others(where), *of_events(where))
    rows = select(*ITEM, delivery.c.change).where(*told, *wanted, delivery.c.status != Status.SENDING.value)
    found: list[tuple[str, DeliveryItem]] = []
    for row in connection.execute(rows.order_by(delivery.c.change, delivery.c.id).limit(limit)):
        known = facts(row)
        place = _Position(False, known.pop("change"), row.id)
        found.append((str(place), DeliveryItem(**known)))
    if len(found) == limit:
        return found, found[-1][0]
    return found, str(_Position(False, horizon, BEHIND))
