"""Make deliveries due again because a person asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, exists, select, update

from alertctl.channels import CHANNEL_NAMES
from alertctl.content import Severity
from alertctl.db import announce
from alertctl.errors import InvalidEvent
from alertctl.models import Priority, Status
from alertctl.outbox.breaker_reports import request_probes
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.tables import SWEEP, delivery, event
from alertctl.routing import RoutingRules, Target
from alertctl.schemas import ResendResult, stamp

_COLUMNS = (delivery.c.id, delivery.c.status, delivery.c.channel, delivery.c.address, delivery.c.route)
_EVERYBODY = RoutingRules(enabled=frozenset(CHANNEL_NAMES))


def resend(
    connection: Connection,
    ids: Sequence[str],
    by: str,
    now: datetime,
    *,
    again: bool = False,
    rules: RoutingRules = _EVERYBODY,
) -> list[ResendResult]:
    """Make deliveries due at once, with a new round of attempts. Returns the outcome for each.

    A delivery that arrived is sent again only if `again`. One for a channel that isn't enabled is refused, because no
    dispatcher would send it; so is one whose event expired, or whose address the recipient policy does not allow any
    more. All open circuit breakers probe at once: a person who resends has repaired something.
    """
    results: list[ResendResult] = []
    begin_change(connection)
    for start in range(0, len(ids), SWEEP):
        batch = list(ids[start : start + SWEEP])
        locked = (
            select(*_COLUMNS, event.c.expires_at)
            .join(event, event.c.id == delivery.c.event_id)
            .where(delivery.c.id.in_(batch))
            .with_for_update(of=delivery)
        )
        rows = {row.id: row for row in connection.execute(locked)}
        outcomes = [ResendResult(id=id_, problem=_refusal(rows.get(id_), again, rules, now)) for id_ in batch]
        _make_due(connection, [outcome.id for outcome in outcomes if outcome.problem is None], by, now)
        results += outcomes
    request_probes(connection)
    announce(connection)
    return results


def _refusal(row: Any, again: bool, rules: RoutingRules, now: datetime) -> str | None:
    if row is None:
        return "no such delivery"
    if row.status == Status.SENDING:
        return "it is being sent right now"
    if row.status == Status.SUCCESS and not again:
        return "it has arrived already"
    if row.expires_at is not None and row.expires_at <= now:
        return f"its event expired at {stamp(row.expires_at)}; send the event again"
    if row.channel not in rules.enabled:
        return f"{row.channel} is switched off ({row.channel.upper()}_ENABLED)"
    if row.route is not None:
        # The address is the platform's own: it is in the configuration.
        return None
    try:
        rules.check(Target(row.channel, row.address, "named"))
    except InvalidEvent as error:
        return error.message
    return None


_IS_CRITICAL = exists().where(event.c.id == delivery.c.event_id, event.c.severity == Severity.CRITICAL.value)


def _make_due(connection: Connection, ids: Sequence[str], by: str, now: datetime) -> None:
    if ids:
        connection.execute(
            update(delivery)
            .where(delivery.c.id.in_(ids))
            .values(
                status=Status.PENDING.value,
                error=None,
                reason=None,
                attempts_before_resend=delivery.c.attempts,
                schedule_step=0,
                queued_at=now,
                priority=case((_IS_CRITICAL, Priority.CRITICAL), else_=Priority.NORMAL),
                next_attempt_at=now,
                requested_by=by[:254],
                updated_at=now,
                change=this_change(),
            )
        )
