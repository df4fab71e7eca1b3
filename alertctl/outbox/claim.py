"""Taking due deliveries, leased, and giving them back."""

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
    """What a claim is for: a channel, and the provider that carries it now. `event_id` narrows it to one event."""

    channel: str
    provider: str
    event_id: str | None = None


@dataclass(slots=True)
class Claim:
    """The deliveries that a claim took, and how many the rate limit moved to their turn (`deferred`).

    `paused_until` is set while the whole provider asked us to wait.
    """

    taken: list[Claimed] = field(default_factory=list)
    deferred: int = 0
    paused_until: datetime | None = None
    next_due: datetime | None = None


SecondsToTurn = Callable[[Claimed], float]
"""Seconds that a claimed delivery must still wait for its address's turn; 0 = go."""


def unpaced(_: Claimed) -> float:
    return 0.0


_PAUSES = select(pauses).where(pauses.c.provider == bindparam("of_provider"))


def claim(
    connection: Connection,
    scope: ClaimScope,
    limits: Sequence[int],
    now: datetime,
    lease: float,
    pace: SecondsToTurn = unpaced,
) -> Claim:
    """Take due deliveries: `limits[urgency]` at most of each urgency and all before it. `lease` in seconds.

    Addresses whose provider asked us to wait are passed over.
    """
    known = [row for row in connection.execute(_PAUSES, {"of_provider": scope.provider}) if row.until > now]
    paused_until = next((row.until for row in known if row.address_key == ""), None)
    if paused_until is not None:
        return Claim(paused_until=paused_until)
    for row in known:
        _postpone(connection, scope, row.address_key, row.until, now)
    result = Claim()
    rows: list[Any] = []
    for urgency in Priority.ALL:
        room = limits[urgency] - len(rows)
        if room > 0:
            rows += _take(connection, scope, urgency, room, [row.address_key for row in known], now, lease)
    _close_interrupted(connection, rows)
    _sort_out(connection, scope, rows, result, now, pace)
    if not rows:
        result.next_due = _next_due(connection, scope, now)
    return result


def is_due(connection: Connection, now: datetime, channels: Sequence[str] = CHANNEL_NAMES) -> bool:
    """Whether any delivery waits for nothing but a sender: a look at the beginning of the queue's index."""
    return bool(connection.execute(_waiting(tuple(channels)), {"of_now": now}).scalar())


@cache
def _waiting(channels: tuple[str, ...]) -> Select[tuple[bool]]:
    due = delivery.c.next_attempt_at <= bindparam("of_now")
    return select(
        or_(
            *(
                exists().where(delivery.c.channel == channel, delivery.c.urgency == urgency, due)
                for channel in channels
                for urgency in Priority.ALL
            )
        )
    )


def _next_due(connection: Connection, scope: ClaimScope, now: datetime) -> datetime | None:
    """When the next delivery of this channel falls due: one look into the index for each urgency."""
    later = (delivery.c.channel == scope.channel, delivery.c.next_attempt_at > now)
    firsts = [
        connection.execute(
            select(delivery.c.next_attempt_at)
            .where(*later, delivery.c.urgency == urgency)
            .order_by(delivery.c.next_attempt_at)
            .limit(1)
        ).scalar()
        for urgency in Priority.ALL
    ]
    return min((first for first in firsts if first is not None), default=None)


def _take(
    connection: Connection,
    scope: ClaimScope,
    urgency: int,
    limit: int,
    paused: list[str],
    now: datetime,
    lease: float,
) -> list[Any]:
    bulk_rows = {"of_channel": scope.channel, "of_urgency": urgency, "of_limit": limit, "of_now": now}
    bulk_rows |= {"of_event": scope.event_id, "of_paused": paused, "of_end": now + timedelta(seconds=lease)}
    statement = _taking(scope.event_id is not None, bool(paused))
    return sorted(connection.execute(statement, bulk_rows).all(), key=lambda row: row.id)


@cache
def _taking(of_one_event: bool, past_paused: bool) -> ReturningUpdate[Any]:
    due = select(delivery.c.id).where(
        delivery.c.channel == bindparam("of_channel"),
        delivery.c.urgency == bindparam("of_urgency"),
        delivery.c.next_attempt_at <= bindparam("of_now"),
    )
    if of_one_event:
        due = due.where(delivery.c.event_id == bindparam("of_event"))
    if past_paused:
        due = due.where(delivery.c.address_key.not_in(bindparam("of_paused", expanding=True)))
    due = due.order_by(delivery.c.next_attempt_at).limit(bindparam("of_limit")).with_for_update(skip_locked=True)
    return (
        update(delivery)
        .where(_among(due))
        .values(
            status=Status.SENDING.value,
            ambiguous=or_(delivery.c.ambiguous, delivery.c.status == Status.SENDING.value),
            attempts=delivery.c.attempts + 1,
            # An attempt that was interrupted counts: its result is unknown.
            schedule_step=delivery.c.schedule_step + case((delivery.c.status == Status.SENDING.value, 1), else_=0),
            next_attempt_at=bindparam("of_end"),
            updated_at=bindparam("of_now"),
        )
        .returning(
            delivery.c.id,
            delivery.c.event_id,
            delivery.c.address,
            delivery.c.address_key,
            delivery.c.urgency,
            delivery.c.attempts,
            delivery.c.round_start,
            delivery.c.schedule_step,
            delivery.c.waiting_since,
            delivery.c.reason,
            delivery.c.requested_by,
        )
    )


def _due(scope: ClaimScope, now: datetime) -> Select[tuple[str]]:
    due = select(delivery.c.id).where(delivery.c.channel == scope.channel, delivery.c.next_attempt_at <= now)
    return due if scope.event_id is None else due.where(delivery.c.event_id == scope.event_id)


def _among(due: Select[tuple[str]]) -> ColumnElement[bool]:
    """A CTE, because Postgres runs a locking one exactly once: as a plain subquery some plans run it again for each
    row, and then its limit counts for nothing."""
    return delivery.c.id.in_(select(due.cte("due").c.id))


def _close_interrupted(connection: Connection, rows: Sequence[Any]) -> None:
    """Give an ending to attempts whose sender died: nobody knows whether the message arrived."""
    again = [row.id for row in rows if row.attempts > 1]
    if again:
        connection.execute(
            update(attempt)
            .where(attempt.c.delivery_id.in_(again), attempt.c.outcome.is_(None))
            .values(outcome=Status.FAILED.value, reason=Reason.AMBIGUOUS.value, code=INTERRUPTED)
        )


def _sort_out(
    connection: Connection, scope: ClaimScope, rows: Sequence[Any], found: Claim, now: datetime, pace: SecondsToTurn
) -> None:
    """Write the attempts of what goes out now; move to its turn, uncounted, what the pace holds up."""
    started, later = [], []
    for row in rows:
        claimed = claimed_from(row)
        delay = pace(claimed)
        if delay > 0:
            later.append({"b_id": row.id, "b_at": now + timedelta(seconds=delay)})
            continue
        found.taken.append(claimed)
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
        connection.execute(_start(connection.dialect.name), bulk_parameter(connection, started))
    if later:
        connection.execute(_GIVE_BACK, later)
    found.deferred = len(later)


_STARTED = ("delivery_id", "number", "provider", "started_at", "requested_by")


@cache
def _start(dialect: str) -> Insert:
    started = bulk_rows(dialect, (attempt.c[name] for name in _STARTED))
    return insert(attempt).from_select(_STARTED, select(*started.c), include_defaults=False)


_GIVE_BACK = (
    update(delivery)
    .where(delivery.c.id == bindparam("b_id"))
    .values(
        attempts=delivery.c.attempts - 1,
        next_attempt_at=bindparam("b_at"),
        status=case((delivery.c.attempts - 1 > delivery.c.round_start, "failed"), else_="pending"),
    )
)


def release(connection: Connection, claims: Sequence[Claimed]) -> None:
    """Give back, uncounted, what was claimed and not sent: due at once, at its old place in the queue."""
    for claimed in claims:
        mine = (attempt.c.delivery_id == claimed.delivery_id, attempt.c.number == claimed.attempt)
        gone = connection.execute(delete(attempt).where(*mine, attempt.c.outcome.is_(None)))
        if gone.rowcount:
            statement = _GIVE_BACK.where(delivery.c.attempts == claimed.attempt, delivery.c.status == "sending")
            statement = statement.values(change=this_change())
            begin_change(connection)
            connection.execute(statement, {"b_id": claimed.delivery_id, "b_at": claimed.since})


def _postpone(connection: Connection, scope: ClaimScope, key: str, until: datetime, now: datetime) -> None:
    """Move a paused address's due deliveries to the end of the pause, so that claims needn't step over them."""
    due = _due(scope, now).where(delivery.c.address_key == key, delivery.c.status != Status.SENDING.value)
    due = due.limit(SWEEP).with_for_update(skip_locked=True)
    connection.execute(update(delivery).where(_among(due)).values(next_attempt_at=until))
