"""Write how attempts ended, and the pauses that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, FromClause, Integer, String, Update, case, func, or_, update

from alertctl.channels.base import Receipt, SendResult
from alertctl.db import announce, bulk_parameter, bulk_rows, insert_or
from alertctl.errors import DeliveryError, Reason
from alertctl.models import Priority, Status
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.claim import ClaimScope
from alertctl.outbox.tables import Claimed, attempt, delivery, pauses
from alertctl.retry import COUNTED, Progress, RateLimitPause, is_expired, next_attempt, pause

d = delivery.c


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended, and how many milliseconds it took (None: nothing was sent). `once`: no retry later."""

    claimed: Claimed
    result: SendResult
    duration_ms: int | None
    once: bool = False


_ATTEMPT_REASON: Column[str] = Column("attempt_reason", String)
_STEP = Column("step", Integer)
"""1 when the failure uses up a wait of the schedule."""


def _ended(dialect: str) -> FromClause:
    """How attempts ended, as `_result` tells it, and the row of the delivery that it belongs to by `attempts`."""
    of_delivery = (d.id, d.attempts, d.status, d.error, d.reason, d.ambiguous, d.next_attempt_at, d.provider_id, _STEP)
    return bulk_rows(dialect, (*of_delivery, d.updated_at, _ATTEMPT_REASON, attempt.c.answer, attempt.c.duration_ms))


@cache
def _record(dialect: str) -> Update:
    ended = _ended(dialect).c
    return (
        update(delivery)
        # By its key: with the bare status both databases may go through everything that is being sent, once for each.
        .where(d.id == ended.id, d.attempts == ended.attempts, func.coalesce(d.status, "") == Status.SENDING.value)
        .values(
            status=ended.status,
            error=ended.error,
            reason=ended.reason,
            ambiguous=or_(d.ambiguous, ended.ambiguous),
            next_attempt_at=ended.next_attempt_at,
            provider_id=ended.provider_id,
            schedule_step=d.schedule_step + ended.step,
            urgency=case((ended.step == 1, d.urgency.bitwise_or(Priority.RETRY)), else_=d.urgency),
            updated_at=ended.updated_at,
            change=this_change(),
        )
    )


@cache
def _end(dialect: str) -> Update:
    ended = _ended(dialect).c
    return (
        update(attempt)
        .where(attempt.c.delivery_id == ended.id, attempt.c.number == ended.attempts, attempt.c.outcome.is_(None))
        .values(
            outcome=ended.status,
            reason=ended.attempt_reason,
            code=ended.error,
            answer=ended.answer,
            duration_ms=ended.duration_ms,
        )
    )


def record(
    connection: Connection,
    scope: ClaimScope,
    ended: Sequence[AttemptResult],
    schedule: Sequence[float],
    max_age: float,
    now: datetime,
    chance: Callable[[], float],
) -> list[bool]:
    """Write how attempts ended; a result that comes after its lease was taken over changes nothing.

    Returns for each whether its delivery is final now.
    """
    rows = [_result(one, schedule, max_age, now, chance()) for one in ended]
    results = bulk_parameter(connection, rows)
    begin_change(connection)
    connection.execute(_record(connection.dialect.name), results)
    connection.execute(_end(connection.dialect.name), results)
    _open_pauses(connection, scope, ended, now)
    if any(row["attempt_reason"] == Reason.CONFIG for row in rows):
        # Another instance may have good credentials: what was refused here is due there.
        announce(connection)
    return [row["next_attempt_at"] is None for row in rows]


def _result(
    one: AttemptResult, schedule: Sequence[float], max_age: float, now: datetime, chance: float
) -> dict[str, Any]:
    claimed, result = one.claimed, one.result
    row: dict[str, Any] = {
        "id": claimed.delivery_id,
        "attempts": claimed.attempt,
        "updated_at": now,
        "duration_ms": one.duration_ms,
        "ambiguous": False,
        "step": 0,
        "attempt_reason": None,
        "next_attempt_at": None,
    }
    if isinstance(result, Receipt):
        return row | {
            "status": Status.SUCCESS.value,
            "provider_id": result.provider_id[:255],
            "answer": result.answer,
        }
    expired = is_expired(result.reason, claimed.since, max_age, now)
    progress = Progress(claimed.tries, claimed.schedule_step, claimed.since, claimed.plain, one.once)
    return row | {
        "status": Status.FAILED.value,
        "error": result.code,
        "reason": Reason.EXPIRED.value if expired else result.reason.value,
        "attempt_reason": result.reason.value,
        "answer": result.detail,
        "ambiguous": result.reason is Reason.AMBIGUOUS,
        "step": int(result.reason in COUNTED),
        "next_attempt_at": next_attempt(result, progress, schedule, max_age, now, chance),
    }


def _open_pauses(connection: Connection, scope: ClaimScope, ended: Sequence[AttemptResult], now: datetime) -> None:
    opened: dict[str, tuple[RateLimitPause, DeliveryError]] = {}
    for one in ended:
        wanted = pause(one.result, one.claimed.address_key) if isinstance(one.result, DeliveryError) else None
        if wanted is not None and isinstance(one.result, DeliveryError):
            opened[wanted.address or ""] = (wanted, one.result)
    # In one order for everybody: two daemons that write the same pauses must not wait for each other.
    for key, (wanted, error) in sorted(opened.items(), key=lambda each: each[0]):
        row = {"provider": scope.provider, "address_key": key, "since": now}
        change = {
            "until": now + timedelta(seconds=wanted.seconds),
            "reason": error.reason.value,
            "code": error.code,
        }
        connection.execute(
            insert_or(connection, pauses, row | change).on_conflict_do_update(
                index_elements=["provider", "address_key"], set_=change
            )
        )
