"""Problems that keep alerts from arriving, for alertctl's own alerts to its admins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from alertctl.channels import channel_type
from alertctl.delivery_log.tables import delivery
from alertctl.error_codes import fix
from alertctl.errors import Reason
from alertctl.models import Priority
from alertctl.outbox import live_reports
from alertctl.routing import Target

LATE = timedelta(minutes=5)
"""Age from which on a waiting critical alert is a problem."""


@dataclass(frozen=True, slots=True)
class ChannelProblem:
    """A problem of a channel. `key` stays the same while the problem lasts."""

    key: str
    channel: str
    title: str
    message: str


def find_problems(
    connection: Connection, providers: Mapping[str, str], default_targets: Sequence[Target], now: datetime
) -> list[ChannelProblem]:
    """Return the current problems. `providers` maps each provider in use to its channel."""
    paused = {problem.channel: problem for problem in _paused(connection, providers, now)}
    late = (problem for problem in _late(connection, now) if problem.channel not in paused)
    return [*paused.values(), *late, *_gone(connection, default_targets)]


def _paused(connection: Connection, providers: Mapping[str, str], now: datetime) -> Iterator[ChannelProblem]:
    for report in live_reports(connection, now):
        channel = providers.get(report.provider)
        if channel is not None:
            yield ChannelProblem(
                f"paused {channel}",
                channel,
                f"alertctl: {report.provider} is paused ({report.code})",
                f"{report.provider} is paused in the daemon on {report.host}. "
                f"Deliveries on {channel} wait. {fix(report.code, Reason.CONFIG, report.provider)} "
                f"Run alertctl doctor {channel} for details.",
            )


def _late(connection: Connection, now: datetime) -> Iterator[ChannelProblem]:
    """Yield the channels on which critical alerts wait, whatever the cause."""
    is_late = (
        delivery.c.next_attempt_at.is_not(None),
        delivery.c.priority.in_((Priority.CRITICAL, Priority.CRITICAL_RETRY)),
        delivery.c.queued_at < now - LATE,
    )
    counts = select(delivery.c.channel, func.count()).where(*is_late).group_by(delivery.c.channel)
    for channel, count in connection.execute(counts):
        alerts = "a critical alert has" if count == 1 else f"{count} critical alerts have"
        yield ChannelProblem(
            f"late {channel}",
            channel,
            f"alertctl: critical alerts wait on {channel}",
            f"On {channel}, {alerts} waited for more than {LATE.seconds // 60} minutes. "
            f"Run alertctl status and alertctl log --channel {channel}.",
        )


def _gone(connection: Connection, default_targets: Sequence[Target]) -> Iterator[ChannelProblem]:
    """Yield the default addresses whose last delivery failed because the address does not exist any more."""
    for target in default_targets:
        same_address = (delivery.c.address_key == target.key, delivery.c.channel == target.channel)
        newest = (
            select(delivery.c.reason, delivery.c.error)
            .where(*same_address, delivery.c.status.in_(("success", "failed")), delivery.c.next_attempt_at.is_(None))
            .order_by(delivery.c.id.desc())
            .limit(1)
        )
        last = connection.execute(newest).first()
        if last is not None and last.reason == Reason.BAD_ADDRESS.value:
            setting = channel_type(target.channel).default_addresses_setting
            yield ChannelProblem(
                f"gone {target.channel} {target.key}",
                target.channel,
                f"alertctl: {target.address} can't be reached ({last.error})",
                f"The last delivery to {target.address} failed: {last.error}. {fix(last.error, last.reason)} "
                f"Alerts to this default address ({setting}) are lost until then.",
            )
