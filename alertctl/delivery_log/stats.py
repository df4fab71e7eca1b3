"""Count the deliveries of the log by event type, channel, address or error."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from alertctl.delivery_log.filters import normalized
from alertctl.delivery_log.query import all_conditions
from alertctl.delivery_log.tables import delivery
from alertctl.error_codes import DUPLICATE
from alertctl.errors import InvalidEvent
from alertctl.models import Status
from alertctl.schemas import Count, LogFilter, Stats

GROUPS = {
    "event": delivery.c.event_type,
    "channel": delivery.c.channel,
    "to": delivery.c.address_key,
    "error": case((delivery.c.error.startswith(DUPLICATE), f"{DUPLICATE}an earlier event"), else_=delivery.c.error),
}
"""What the log can be counted by. The error of each duplicate names another event: they count as one."""
MAX_GROUPS = 100


def stats(connection: Connection, where: LogFilter, by: str) -> Stats:
    """Count the deliveries that match, by status, in total and for each value of one of GROUPS. Reads all of them.

    Raises InvalidEvent for an unknown group.
    """
    if by not in GROUPS:
        raise InvalidEvent("by", f"should be one of {', '.join(GROUPS)}")
    key, where = GROUPS[by], normalized(connection, where)
    fitting = all_conditions(connection, where)
    if by == "error":
        fitting.append(delivery.c.error.is_not(None))
    everything = connection.execute(select(*_sums()).where(*fitting)).one()
    # Grouped by name: Postgres treats an expression with parameters as a different one each time.
    groups = select(key.label("key"), *_sums()).where(*fitting).group_by("key")
    largest = groups.order_by(func.count().desc(), "key").limit(MAX_GROUPS)
    return Stats(
        by=by, items=[_count(row.key, row) for row in connection.execute(largest)], total=_count("", everything)
    )


def _sums() -> list[ColumnElement[int]]:
    status, later = delivery.c.status, delivery.c.next_attempt_at.is_not(None)
    kinds: dict[str, ColumnElement[bool]] = {
        "success": status == Status.SUCCESS.value,
        "failed": (status == Status.FAILED.value) & ~later,
        "retrying": (status == Status.FAILED.value) & later,
        "waiting": status.in_((Status.PENDING.value, Status.SENDING.value)),
        "suppressed": status == Status.SUPPRESSED.value,
    }
    ones = [func.coalesce(func.sum(case((kind, 1), else_=0)), 0).label(name) for name, kind in kinds.items()]
    return [func.count().label("total"), *ones]


def _count(key: str, row: Any) -> Count:
    return Count(key=key, **{name: int(number) for name, number in row._mapping.items() if name != "key"})
