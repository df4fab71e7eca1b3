"""Reports of open circuit breakers by running daemons, and the request to all of them to probe at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from alertctl.db import announce, upsert
from alertctl.outbox.instances import Instance
from alertctl.outbox.tables import breaker_report, probe_request
from alertctl.schemas import Paused

REPORT_SECONDS = 10.0
"""How often a daemon renews its report."""
STALE_SECONDS = 60.0
"""Age from which on a report is ignored: its instance has ended."""


def save_report(
    connection: Connection,
    instance: Instance,
    provider: str,
    code: str,
    since: datetime,
    next_probe_at: datetime,
    now: datetime,
) -> None:
    """Write this instance's report of a provider, or renew it."""
    state = {"code": code, "since": since, "next_probe_at": next_probe_at, "reported_at": now}
    row = {"instance_id": instance.id, "provider": provider, "host": instance.host, "pid": instance.pid}
    upsert(connection, breaker_report, row | state, state)


def remove_report(connection: Connection, instance: Instance, provider: str, now: datetime) -> None:
    """Remove this instance's report of a provider, and the reports of instances that are long gone."""
    own = (breaker_report.c.instance_id == instance.id) & (breaker_report.c.provider == provider)
    stale = breaker_report.c.reported_at < now - timedelta(days=1)
    connection.execute(delete(breaker_report).where(own | stale))


def live_reports(connection: Connection, now: datetime) -> list[Paused]:
    """Return the open circuit breakers that running instances report, by provider and age."""
    live = breaker_report.c.reported_at > now - timedelta(seconds=STALE_SECONDS)
    rows = select(breaker_report).where(live).order_by(breaker_report.c.provider, breaker_report.c.since)
    return [
        Paused(
            provider=row.provider,
            to=None,
            code=row.code,
            breaker=True,
            since=row.since,
            until=row.next_probe_at,
            host=row.host,
            pid=row.pid,
        )
        for row in connection.execute(rows)
    ]


def request_probes(connection: Connection, providers: Sequence[str] | None = None) -> None:
    """Ask every instance whose breaker is open for one of these providers (None: for any) to probe it at once."""
    reported = select(breaker_report.c.provider).distinct()
    if providers is not None:
        reported = reported.where(breaker_report.c.provider.in_(providers))
    for name in sorted(connection.execute(reported).scalars()):
        one_more = {"number": probe_request.c.number + 1}
        upsert(connection, probe_request, {"provider": name, "number": 1}, one_more)
        announce(connection)


def probe_request_number(connection: Connection, provider: str) -> int:
    """Return how often all instances were asked to probe this provider."""
    number = connection.execute(select(probe_request.c.number).where(probe_request.c.provider == provider)).scalar()
    return int(number or 0)
