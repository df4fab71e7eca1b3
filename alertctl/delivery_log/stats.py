"""The log in numbers, and how the outbox stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from alertctl import __version__
from alertctl.channels import CHANNEL_NAMES
from alertctl.db import HEAD
from alertctl.delivery_log.filters import of_events, others, settled, times
from alertctl.delivery_log.query import counting
from alertctl.delivery_log.tables import delivery, pauses
from alertctl.error_codes import DUPLICATE
from alertctl.errors import InvalidEvent
from alertctl.models import Status
from alertctl.outbox import live_reports
from alertctl.schemas import Count, LogFilter, Paused, Stats, StatusReport

GROUPS = {
    "event": delivery.c.event_type,
    "channel": delivery.c.channel,
    "to": delivery.c.address_key,
    "error": case((delivery.c.error.startswith(DUPLICATE), f"{DUPLICATE}an earlier event"), else_=delivery.c.error),
}
"""What the log can be counted by. Each duplicate's error names another event: they count as one."""
MOST = 100
"""Groups that are told apart at most, the largest."""


def stats(connection: Connection, where: LogFilter, by: str) -> Stats:
    """How many deliveries fit, and how they stand, by one of GROUPS. Reads them all: give it a `since`.

    Raises InvalidEvent for an unknown group.
    """
    if by not in GROUPS:
        raise InvalidEvent("by", f"should be one of {', '.join(GROUPS)}")
    key, where = GROUPS[by], settled(connection, where)
    fitting = [*counting(connection, where), *times(where), *others(where), *of_events(where)]
    if by == "error":
        fitting.append(delivery.c.error.is_not(None))
    everything = connection.execute(select(*_sums()).where(*fitting)).one()
    # By its name: Postgres takes an expression that holds values for a new one each time.
    groups = select(key.label("key"), *_sums()).where(*fitting).group_by("key")
    largest = groups.order_by(func.count().desc(), "key").limit(MOST)
    return Stats(
        by=by,
        items=[_count(row.key, row) for row in connection.execute(largest)],
        total=_count("", everything),
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
    return Count(
        key=key,
        total=int(row.total),
        success=int(row.success),
        failed=int(row.failed),
        retrying=int(row.retrying),
        waiting=int(row.waiting),
        suppressed=int(row.suppressed),
    )


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits: deliveries that aren't final by channel, seconds the oldest due one is late, paused providers."""

    depth: dict[str, int]
    oldest_due_seconds: float
    paused: list[Paused]


def queue(connection: Connection, now: datetime) -> Queue:
    """How the outbox stands; costs what waits, not what the log holds."""
    waiting = select(delivery.c.channel, func.count()).where(delivery.c.next_attempt_at.is_not(None))
    depth = dict.fromkeys(CHANNEL_NAMES, 0)
    depth.update({str(name): int(count) for name, count in connection.execute(waiting.group_by(delivery.c.channel))})
    due = delivery.c.next_attempt_at <= now
    oldest = connection.execute(select(func.min(delivery.c.next_attempt_at)).where(due)).scalar()
    return Queue(
        depth=depth,
        oldest_due_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        paused=[pause for pause in paused(connection, now) if pause.to is None],
    )


def paused(connection: Connection, now: datetime) -> list[Paused]:
    """Return the open circuit breakers of running daemons, then the providers and addresses that asked us to wait."""
    breakers = [
        Paused(
            provider=report.provider,
            to=None,
            code=report.code,
            breaker=True,
            since=report.since,
            until=report.next_probe_at,
            host=report.host,
            pid=report.pid,
        )
        for report in live_reports(connection, now)
    ]
    rows = select(pauses).where(pauses.c.until > now).order_by(pauses.c.address_key != "", pauses.c.provider)
    return breakers + [
        Paused(
            provider=row.provider,
            to=row.address_key or None,
            code=row.code,
            breaker=False,
            since=row.since,
            until=row.until,
        )
        for row in connection.execute(rows.limit(MOST))
    ]


def status_report(connection: Connection, where: str, now: datetime, *, daemon: bool) -> StatusReport:
    """How this alertctl stands. `where` names its database or address, without secrets."""
    waiting = queue(connection, now)
    return StatusReport(
        where=where,
        version=__version__,
        schema_version=HEAD,
        daemon=daemon,
        depth=waiting.depth,
        oldest_due_seconds=round(waiting.oldest_due_seconds, 3),
        last_success=last_success(connection),
        paused=paused(connection, now),
    )


def last_success(connection: Connection) -> dict[str, datetime | None]:
    """When the newest delivery that arrived did so, by channel."""
    return {channel: _last_success(connection, channel) for channel in CHANNEL_NAMES}


def _last_success(connection: Connection, channel: str) -> datetime | None:
    arrived = (delivery.c.channel == channel, delivery.c.status == Status.SUCCESS.value)
    newest = select(delivery.c.updated_at).where(*arrived).order_by(delivery.c.id.desc()).limit(1)
    found: datetime | None = connection.execute(newest).scalar()
    return found
