"""Claim due deliveries under a lease."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import product
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from alertctl.channels import CHANNEL_NAMES
from alertctl.channels.base import MessageOptions
from alertctl.db import bulk_parameter, bulk_rows
from alertctl.errors import Reason
from alertctl.models import Priority, Status
from alertctl.outbox.lease import postpone
from alertctl.outbox.tables import INTERRUPTED, SWEEP, Claimed, attempt, delivery, event, is_selected_for_update, pauses
from alertctl.outbox.threads import RETRY_SECONDS, ROOT_WAIT_SECONDS, ThreadPlan


@dataclass(frozen=True, slots=True)
class ClaimScope:
    """The deliveries that a claim may take: those of a channel, or of one event. `provider` carries the channel now.

    `threads`: whether messages about a subject form a thread by default; None for a channel without threads.
    `root_wait`: how many seconds a message waits for the root of its thread, at most.
    """

    channel: str
    provider: str
    event_id: str | None = None
    threads: bool | None = None
    root_wait: float = ROOT_WAIT_SECONDS


@dataclass(frozen=True, slots=True)
class Claim:
    """The deliveries that a claim took, their events by id, and how many the rate limit `deferred` to their turn.

    `waiting` deliveries wait for the root of their thread, which is being sent. `paused_until` is set while a rate
    limit applies to the entire provider. `next_due` is only looked up when nothing is due.
    """

    taken: list[Claimed] = field(default_factory=list)
    events: Mapping[str, Row[Any]] = field(default_factory=dict)
    deferred: int = 0
    waiting: int = 0
    paused_until: datetime | None = None
    next_due: datetime | None = None


_PAUSES = select(pauses).where(pauses.c.provider == bindparam("of_provider"))
_EVENTS = select(event).where(event.c.id.in_(bindparam("ids", expanding=True)))


def claim(
    connection: Connection,
    scope: ClaimScope,
    limits: Sequence[int],
    now: datetime,
    lease: float,
    seconds_to_turn: Callable[[Claimed], float] | None = None,
    *,
    probe: bool = False,
) -> Claim:
    """Claim due deliveries: at most `limits[priority]` of each priority and those before it. `lease` in seconds.

    Addresses for which the provider asked us to wait are skipped. `seconds_to_turn` returns when the rate limit lets a
    delivery go, 0 for now. A `probe` is the one delivery that was tried least: a message that is always refused must
    not stand for all others.
    """
    active_pauses = [row for row in connection.execute(_PAUSES, {"of_provider": scope.provider}) if row.until > now]
    paused_until = next((row.until for row in active_pauses if row.address_key == ""), None)
    if paused_until is not None:
        return Claim(paused_until=paused_until)
    for row in active_pauses:
        _postpone_paused(connection, scope, row.address_key, row.until, now)
    paused = [row.address_key for row in active_pauses]
    rows: list[Row[Any]] = []
    for priority in (None,) if probe else Priority.ALL:
        room = 1 if priority is None else limits[priority] - len(rows)
        if room > 0:
            rows += _claim_rows(connection, scope, priority, room, paused, now, lease)
    _close_interrupted(connection, rows)
    if not rows:
        return Claim(next_due=_next_due(connection, scope, now))
    claims = [_claimed(row) for row in rows]
    events = {row.id: row for row in connection.execute(_EVENTS, {"ids": list({item.event_id for item in claims})})}
    plan = ThreadPlan(connection, scope.channel, scope.threads, claims, events, now)
    taken: list[Claimed] = []
    delays: dict[str, float] = {}
    waiting: set[str] = set()
    for claimed in claims:
        if plan.has_to_wait(claimed, scope.root_wait):
            waiting.add(claimed.delivery_id)
        elif seconds_to_turn and (delay := seconds_to_turn(claimed)) > 0:
            delays[claimed.delivery_id] = delay
        else:
            taken.append(plan.join(claimed))
    waiting |= plan.claim_roots(now + timedelta(seconds=lease))
    delays |= dict.fromkeys(waiting, RETRY_SECONDS)
    postpone(connection, {id_: now + timedelta(seconds=delay) for id_, delay in delays.items()})
    taken = [claimed for claimed in taken if claimed.delivery_id not in waiting]
    _start_attempts(connection, scope, taken, {row.id: row.requested_by for row in rows}, now)
    return Claim(taken, events, deferred=len(delays), waiting=len(waiting))


def _claimed(row: Row[Any]) -> Claimed:
    return Claimed(
        delivery_id=row.id,
        event_id=row.event_id,
        address=row.address,
        address_key=row.address_key,
        priority=row.priority,
        attempt=row.attempts,
        tries=row.attempts - row.attempts_before_resend,
        since=row.queued_at,
        plain=row.reason == Reason.REJECTED,
        routing_reason=row.routing_reason,
        route=row.route,
        options=MessageOptions.from_json(row.options),
        schedule_step=row.schedule_step,
        was_refused=row.reason == Reason.CONFIG,
    )


def is_due(connection: Connection, now: datetime) -> bool:
    """Return whether any delivery is due. Reads only the beginning of the queue's index."""
    return bool(connection.execute(_is_due_statement(), {"of_now": now}).scalar())


@cache
def _is_due_statement() -> Select[tuple[bool]]:
    due = delivery.c.next_attempt_at <= bindparam("of_now")
    classes = product(CHANNEL_NAMES, Priority.ALL)
    return select(
        or_(
            *(
                exists().where(delivery.c.channel == channel, delivery.c.priority == priority, due)
                for channel, priority in classes
            )
        )
    )


def _next_due(connection: Connection, scope: ClaimScope, now: datetime) -> datetime | None:
    """Return when the next delivery of this channel falls due. Reads one index entry for each priority."""
    later = (delivery.c.channel == scope.channel, delivery.c.next_attempt_at > now)
    earliest = select(func.min(delivery.c.next_attempt_at)).where(*later)
    firsts = [connection.execute(earliest.where(delivery.c.priority == priority)).scalar() for priority in Priority.ALL]
    return min((first for first in firsts if first is not None), default=None)


def _claim_rows(
    connection: Connection,
    scope: ClaimScope,
    priority: int | None,
    limit: int,
    paused: list[str],
    now: datetime,
    lease: float,
) -> list[Row[Any]]:
    parameters = {
        "of_channel": scope.channel,
        "of_priority": priority,
        "of_limit": limit,
        "of_now": now,
        "of_event": scope.event_id,
        "of_paused": paused,
        "of_end": now + timedelta(seconds=lease),
    }
    statement = _claim_statement(scope.event_id is not None, bool(paused), priority is None)
    return sorted(connection.execute(statement, parameters).all(), key=lambda row: row.id)


_CLAIMED_COLUMNS = (
    *("id", "event_id", "address", "address_key", "priority", "attempts", "attempts_before_resend", "schedule_step"),
    *("queued_at", "reason", "requested_by", "routing_reason", "route", "options"),
)


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
    return (
        update(delivery)
        .where(is_selected_for_update(due.order_by(*order).limit(bindparam("of_limit"))))
        .values(
            status=Status.SENDING.value,
            ambiguous=or_(delivery.c.ambiguous, delivery.c.status == Status.SENDING.value),
            attempts=delivery.c.attempts + 1,
            # An interrupted attempt counts: its result is unknown.
            schedule_step=delivery.c.schedule_step + case((delivery.c.status == Status.SENDING.value, 1), else_=0),
            next_attempt_at=bindparam("of_end"),
            updated_at=bindparam("of_now"),
        )
        .returning(*(delivery.c[name] for name in _CLAIMED_COLUMNS))
    )


def _close_interrupted(connection: Connection, rows: Sequence[Any]) -> None:
    """End attempts whose lease has ended as ambiguous: the message may have arrived."""
    again = [row.id for row in rows if row.attempts > 1]
    if again:
        connection.execute(
            update(attempt)
            .where(attempt.c.delivery_id.in_(again), attempt.c.outcome.is_(None))
            .values(outcome=Status.FAILED.value, reason=Reason.AMBIGUOUS.value, code=INTERRUPTED)
        )


def _start_attempts(
    connection: Connection,
    scope: ClaimScope,
    taken: Sequence[Claimed],
    requested_by: Mapping[str, str | None],
    now: datetime,
) -> None:
    """Insert the attempts of these deliveries."""
    if not taken:
        return
    attempts = [
        {
            "delivery_id": claimed.delivery_id,
            "number": claimed.attempt,
            "provider": scope.provider,
            "started_at": now,
            "requested_by": requested_by[claimed.delivery_id] if claimed.tries == 1 else None,
        }
        for claimed in taken
    ]
    statement = _insert_attempts(connection.dialect.name, tuple(attempts[0]))
    connection.execute(statement, bulk_parameter(connection, attempts))


@cache
def _insert_attempts(dialect: str, columns: tuple[str, ...]) -> Insert:
    started = bulk_rows(dialect, (attempt.c[name] for name in columns))
    return insert(attempt).from_select(columns, select(*started.c), include_defaults=False)


def _postpone_paused(connection: Connection, scope: ClaimScope, key: str, until: datetime, now: datetime) -> None:
    """Move a paused address's due deliveries to the end of the pause, so that claims needn't skip them each time."""
    due = select(delivery.c.id).where(
        delivery.c.channel == scope.channel,
        delivery.c.next_attempt_at <= now,
        delivery.c.address_key == key,
        delivery.c.status != Status.SENDING.value,
    )
    if scope.event_id is not None:
        due = due.where(delivery.c.event_id == scope.event_id)
    connection.execute(update(delivery).where(is_selected_for_update(due.limit(SWEEP))).values(next_attempt_at=until))
