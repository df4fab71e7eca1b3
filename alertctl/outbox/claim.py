"""Claim due deliveries under a lease, and release them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Select,
    bindparam,
    case,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from alertctl.channels import CHANNEL_NAMES
from alertctl.db import bulk_parameter, bulk_rows
from alertctl.errors import Reason
from alertctl.models import Priority, Status
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.tables import INTERRUPTED, SWEEP, Claimed, attempt, claimed_from, delivery, pauses


@dataclass(frozen=True, slots=True)
class ClaimScope:
    """The deliveries that a claim may take: those of a channel, or of one event. `provider` carries the channel now."""

    channel: str
    provider: str
    event_id: str | None = None


@dataclass(slots=True)
class Claim:
    """The deliveries that a claim took, and how many the rate limit moved to their turn (`deferred`).

    `paused_until` is set while the provider asked us to wait with everything.
    """

    taken: list[Claimed] = field(default_factory=list)
    deferred: int = 0
    paused_until: datetime | None = None
    next_due: datetime | None = None


SecondsToTurn = Callable[[Claimed], float]
"""Returns the seconds until a claimed delivery's turn at its address; 0 to send it now."""


def no_rate_limit(_: Claimed) -> float:
    """Let every delivery go at once."""
    return 0.0


_PAUSES = select(pauses).where(pauses.c.provider == bindparam("of_provider"))


def claim(
    connection: Connection,
    scope: ClaimScope,
    limits: Sequence[int],
    now: datetime,
    lease: float,
    seconds_to_turn: SecondsToTurn = no_rate_limit,
    *,
    probe: bool = False,
) -> Claim:
    """Claim due deliveries: at most `limits[priority]` of each priority and those before it. `lease` in seconds.

    Addresses for which the provider asked us to wait are skipped. A `probe` is the one delivery that was tried least:
    a message that is always refused must not stand for all others.
    """
    active_pauses = [row for row in connection.execute(_PAUSES, {"of_provider": scope.provider}) if row.until > now]
    paused_until = next((row.until for row in active_pauses if row.address_key == ""), None)
    if paused_until is not None:
        return Claim(paused_until=paused_until)
    for row in active_pauses:
        _postpone_paused(connection, scope, row.address_key, row.until, now)
    paused = [row.address_key for row in active_pauses]
    result = Claim()
    rows: list[Any] = []
    for priority in (None,) if probe else Priority.ALL:
        room = 1 if priority is None else limits[priority] - len(rows)
        if room > 0:
            rows += _claim_rows(connection, scope, priority, room, paused, now, lease)
    _close_interrupted(connection, rows)
    _start_or_postpone(connection, scope, rows, result, now, seconds_to_turn)
    if not rows:
        result.next_due = _next_due(connection, scope, now)
    return result


def is_due(connection: Connection, now: datetime, channels: Sequence[str] = CHANNEL_NAMES) -> bool:
    """Return whether any delivery is due. Reads only the beginning of the queue's index."""
    return bool(connection.execute(_is_due_statement(tuple(channels)), {"of_now": now}).scalar())


@cache
def _is_due_statement(channels: tuple[str, ...]) -> Select[tuple[bool]]:
    due = delivery.c.next_attempt_at <= bindparam("of_now")
    return select(
        or_(
            *(
                exists().where(delivery.c.channel == channel, delivery.c.priority == priority, due)
                for channel in channels
                for priority in Priority.ALL
            )
        )
    )


def _next_due(connection: Connection, scope: ClaimScope, now: datetime) -> datetime | None:
    """Return when the next delivery of this channel falls due. Reads one index entry for each priority."""
    later = (delivery.c.channel == scope.channel, delivery.c.next_attempt_at > now)
    firsts = [
        connection.execute(
            select(delivery.c.next_attempt_at)
            .where(*later, delivery.c.priority == priority)
            .order_by(delivery.c.next_attempt_at)
            .limit(1)
        ).scalar()
        for priority in Priority.ALL
    ]
    return min((first for first in firsts if first is not None), default=None)


def _claim_rows(
    connection: Connection,
    scope: ClaimScope,
    priority: int | None,
    limit: int,
    paused: list[str],
    now: datetime,
    lease: float,
) -> list[Any]:
    parameters: dict[str, Any] = {
        "of_channel": scope.channel,
        "of_priority": priority,
        "of_limit": limit,
        "of_now": now,
    }
    parameters |= {"of_event": scope.event_id, "of_paused": paused, "of_end": now + timedelta(seconds=lease)}
    statement = _claim_statement(scope.event_id is not None, bool(paused), priority is None)
    return sorted(connection.execute(statement, parameters).all(), key=lambda row: row.id)


@cache
def _claim_statement(of_one_event: bool, past_paused: bool, least_tried: bool) -> ReturningUpdate[Any]:
    due = select(delivery.c.id).where(
        delivery.c.channel == bindparam("of_channel"), delivery.c.next_attempt_at <= bindparam("of_now")
    )
    order: list[ColumnElement[Any]] = [delivery.c.next_attempt_at]
    if least_tried:
        order = [delivery.c.attempts - delivery.c.attempts_before_resend, delivery.c.priority, *order]
    else:
        due = due.where(delivery.c.priority == bindparam("of_priority"))
    if of_one_event:
        due = due.where(delivery.c.event_id == bindparam("of_event"))
    if past_paused:
        due = due.where(delivery.c.address_key.not_in(bindparam("of_paused", expanding=True)))
    due = due.order_by(*order).limit(bindparam("of_limit")).with_for_update(skip_locked=True)
    return (
        update(delivery)
        .where(_is_among(due))
        .values(
            status=Status.SENDING.value,
            ambiguous=or_(delivery.c.ambiguous, delivery.c.status == Status.SENDING.value),
            attempts=delivery.c.attempts + 1,
            # An interrupted attempt counts: its result is unknown.
            schedule_step=delivery.c.schedule_step + case((delivery.c.status == Status.SENDING.value, 1), else_=0),
            next_attempt_at=bindparam("of_end"),
            updated_at=bindparam("of_now"),
        )
        .returning(
            delivery.c.id,
            delivery.c.event_id,
            delivery.c.address,
            delivery.c.address_key,
            delivery.c.priority,
            delivery.c.attempts,
            delivery.c.attempts_before_resend,
            delivery.c.schedule_step,
            delivery.c.queued_at,
            delivery.c.reason,
            delivery.c.requested_by,
        )
    )


def _select_due(scope: ClaimScope, now: datetime) -> Select[tuple[str]]:
    due = select(delivery.c.id).where(delivery.c.channel == scope.channel, delivery.c.next_attempt_at <= now)
    return due if scope.event_id is None else due.where(delivery.c.event_id == scope.event_id)


def _is_among(due: Select[tuple[str]]) -> ColumnElement[bool]:
    """Compare with a CTE, because Postgres runs a locking CTE exactly once.

    Some plans run a plain subquery again for each row, which makes its limit void.
    """
    return delivery.c.id.in_(select(due.cte("due").c.id))


def _close_interrupted(connection: Connection, rows: Sequence[Any]) -> None:
    """End the attempts whose sender died as ambiguous: the message may have arrived."""
    again = [row.id for row in rows if row.attempts > 1]
    if again:
        connection.execute(
            update(attempt)
            .where(attempt.c.delivery_id.in_(again), attempt.c.outcome.is_(None))
            .values(outcome=Status.FAILED.value, reason=Reason.AMBIGUOUS.value, code=INTERRUPTED)
        )


def _start_or_postpone(
    connection: Connection,
    scope: ClaimScope,
    rows: Sequence[Any],
    result: Claim,
    now: datetime,
    seconds_to_turn: SecondsToTurn,
) -> None:
    """Insert the attempts of what is sent now; move to its turn, uncounted, what the rate limit holds up."""
    started, later = [], []
    for row in rows:
        claimed = claimed_from(row)
        delay = seconds_to_turn(claimed)
        if delay > 0:
            later.append({"b_id": row.id, "b_at": now + timedelta(seconds=delay)})
            continue
        result.taken.append(claimed)
        by = row.requested_by if claimed.tries == 1 else None
        started.append(
            {
                "delivery_id": row.id,
                "number": row.attempts,
                "provider": scope.provider,
                "started_at": now,
                "requested_by": by,
            }
        )
    if started:
        connection.execute(_insert_attempts(connection.dialect.name), bulk_parameter(connection, started))
    if later:
        connection.execute(_RELEASE, later)
    result.deferred = len(later)


_ATTEMPT_COLUMNS = ("delivery_id", "number", "provider", "started_at", "requested_by")


@cache
def _insert_attempts(dialect: str) -> Insert:
    started = bulk_rows(dialect, (attempt.c[name] for name in _ATTEMPT_COLUMNS))
    return insert(attempt).from_select(_ATTEMPT_COLUMNS, select(*started.c), include_defaults=False)


_RELEASE = (
    update(delivery)
    .where(delivery.c.id == bindparam("b_id"))
    .values(
        attempts=delivery.c.attempts - 1,
        next_attempt_at=bindparam("b_at"),
        status=case((delivery.c.attempts - 1 > delivery.c.attempts_before_resend, "failed"), else_="pending"),
    )
)


def release(connection: Connection, claims: Sequence[Claimed]) -> None:
    """Undo claims that were not sent: due at once, uncounted, at their old position in the queue."""
    for claimed in claims:
        own_attempt = (attempt.c.delivery_id == claimed.delivery_id, attempt.c.number == claimed.attempt)
        deleted = connection.execute(delete(attempt).where(*own_attempt, attempt.c.outcome.is_(None)))
        if deleted.rowcount:
            statement = _RELEASE.where(delivery.c.attempts == claimed.attempt, delivery.c.status == "sending")
            statement = statement.values(change=this_change())
            begin_change(connection)
            connection.execute(statement, {"b_id": claimed.delivery_id, "b_at": claimed.since})


def _postpone_paused(connection: Connection, scope: ClaimScope, key: str, until: datetime, now: datetime) -> None:
    """Move a paused address's due deliveries to the end of the pause, so that claims needn't skip them each time."""
    due = _select_due(scope, now).where(delivery.c.address_key == key, delivery.c.status != Status.SENDING.value)
    due = due.limit(SWEEP).with_for_update(skip_locked=True)
    connection.execute(update(delivery).where(_is_among(due)).values(next_attempt_at=until))
