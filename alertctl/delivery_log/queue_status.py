"""Read the state of the queue: waiting deliveries, paused providers, the last successes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from alertctl import __version__
from alertctl.channels import CHANNEL_NAMES, CHANNEL_TYPES
from alertctl.db import HEAD
from alertctl.delivery_log.tables import delivery, pauses
from alertctl.models import Status, columns_for
from alertctl.outbox import live_instances, live_reports
from alertctl.schemas import InstanceItem, Paused, StatusReport

MAX_PAUSES = 100


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """Deliveries that aren't final by channel, by how many seconds the oldest due one is late, and paused providers."""

    depth: dict[str, int]
    oldest_due_seconds: float
    paused: list[Paused]


def queue_status(connection: Connection, now: datetime, channels: Collection[str] = CHANNEL_NAMES) -> QueueStatus:
    """Return the state of the queue. Its cost depends on the deliveries that wait, not on the length of the log.

    Only due deliveries of these `channels` count as late.
    """
    waiting = select(delivery.c.channel, func.count()).where(delivery.c.next_attempt_at.is_not(None))
    depth = dict.fromkeys(CHANNEL_NAMES, 0)
    depth.update({str(name): int(count) for name, count in connection.execute(waiting.group_by(delivery.c.channel))})
    due = (delivery.c.next_attempt_at <= now, delivery.c.channel.in_(channels))
    oldest = connection.execute(select(func.min(delivery.c.next_attempt_at)).where(*due)).scalar()
    return QueueStatus(
        depth=depth,
        oldest_due_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        paused=[pause for pause in paused(connection, now) if pause.to is None],
    )


def paused(connection: Connection, now: datetime) -> list[Paused]:
    """Return the open circuit breakers of running daemons, then the providers and addresses that asked us to wait."""
    to = func.nullif(pauses.c.address_key, "").label("to")
    rows = select(*columns_for(Paused, pauses), to).where(pauses.c.until > now)
    ordered = rows.order_by(pauses.c.address_key != "", pauses.c.provider).limit(MAX_PAUSES)
    waits = [Paused(**row._asdict(), breaker=False) for row in connection.execute(ordered)]
    return [*live_reports(connection, now), *waits]


def status_report(
    connection: Connection, where: str, now: datetime, enabled: Collection[str], *, daemon: bool
) -> StatusReport:
    """Return the state of this alertctl. `where` names its database or address, without secrets.

    `enabled` are the channels that it sends on.
    """
    waiting = queue_status(connection, now)
    instances = live_instances(connection, now)
    return StatusReport(
        where=where,
        version=__version__,
        schema_version=HEAD,
        daemon=daemon,
        depth=waiting.depth,
        oldest_due_seconds=round(waiting.oldest_due_seconds, 3),
        last_success=last_success(connection),
        paused=paused(connection, now),
        oldest_waiting_seconds=round(_oldest_waiting_seconds(connection, now), 3),
        instances=instances,
        warnings=[*_different_routes(instances), *_channels_off(waiting.depth, enabled)],
    )


def deliveries_wait(count: int) -> str:
    """Return `1 delivery waits` or `3 deliveries wait`."""
    return "1 delivery waits" if count == 1 else f"{count} deliveries wait"


def _different_routes(instances: Sequence[InstanceItem]) -> Iterator[str]:
    """Yield a warning if daemons have different routes: the recipients depend on the daemon that takes the event."""
    if len({instance.routes_hash for instance in instances}) > 1:
        names = ", ".join(f"host {item.host} pid {item.pid} ({item.routes_hash[:8]})" for item in instances)
        yield f"daemons run with different routes: {names}; give all the same [[routes]] and restart them"


def _channels_off(depth: Mapping[str, int], enabled: Collection[str]) -> Iterator[str]:
    """Yield a warning for each channel that was switched off while deliveries waited."""
    for kind in CHANNEL_TYPES:
        if (count := depth[kind.name]) and kind.name not in enabled:
            yield f"{kind.name} is off and {deliveries_wait(count)}: set {kind.enabled_setting} to true to send"


def _oldest_waiting_seconds(connection: Connection, now: datetime) -> float:
    queued = select(func.min(delivery.c.queued_at)).where(delivery.c.next_attempt_at.is_not(None))
    oldest = connection.execute(queued).scalar()
    return max(0.0, (now - oldest).total_seconds()) if oldest else 0.0


def last_success(connection: Connection) -> dict[str, datetime | None]:
    """Return when the newest successful delivery arrived, by channel."""
    moments: dict[str, datetime | None] = {}
    for channel in CHANNEL_NAMES:
        arrived = (delivery.c.channel == channel, delivery.c.status == Status.SUCCESS.value)
        newest = select(delivery.c.updated_at).where(*arrived).order_by(delivery.c.id.desc()).limit(1)
        moments[channel] = connection.execute(newest).scalar()
    return moments
