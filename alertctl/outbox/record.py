"""Record the results of attempts, and the pauses that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, FromClause, Integer, String, Update, case, func, or_, update
from sqlalchemy.sql.dml import ReturningUpdate

from alertctl.channels.base import Receipt, SendResult
from alertctl.db import announce, bulk_parameter, bulk_rows, upsert
from alertctl.errors import DeliveryError, Reason
from alertctl.models import Priority, Status
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.claim import ClaimScope
from alertctl.outbox.tables import Claimed, attempt, delivery, pauses
from alertctl.outbox.threads import record_roots_and_replies
from alertctl.retry import COUNTED, is_expired, next_attempt, rate_limit_wait

d = delivery.c


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt and its milliseconds (None: nothing was sent). `once`: don't retry later.

    `alone`: the provider accepts other messages, so a refusal of our settings is about this one alone.
    """

    claimed: Claimed
    result: SendResult
    duration_ms: int | None
    once: bool = False
    alone: bool = False


_ATTEMPT_REASON: Column[str] = Column("attempt_reason", String)
_STEP = Column("step", Integer)
"""1 if the failure uses up a step of RETRY_SCHEDULE, else 0."""


def _results_table(dialect: str) -> FromClause:
    """Return the rows of `_result_row` as a table; `id` and `attempts` say to which claim each belongs."""
    of_delivery = (d.id, d.attempts, d.status, d.error, d.reason, d.ambiguous, d.next_attempt_at, d.provider_id, _STEP)
    of_attempt = (_ATTEMPT_REASON, attempt.c.answer, attempt.c.duration_ms, attempt.c.note)
    return bulk_rows(dialect, (*of_delivery, d.updated_at, d.thread_id, *of_attempt))


@cache
def _update_deliveries(dialect: str) -> ReturningUpdate[Any]:
    result = _results_table(dialect).c
    return (
        update(delivery)
        # coalesce keeps both databases from using the index on status, which would read all that is being sent.
        .where(d.id == result.id, d.attempts == result.attempts, func.coalesce(d.status, "") == Status.SENDING.value)
        .values(
            status=result.status,
            error=result.error,
            reason=result.reason,
            ambiguous=or_(d.ambiguous, result.ambiguous),
            next_attempt_at=result.next_attempt_at,
            provider_id=result.provider_id,
            schedule_step=d.schedule_step + result.step,
            priority=case((result.step == 1, d.priority.bitwise_or(Priority.RETRY)), else_=d.priority),
            updated_at=result.updated_at,
            change=this_change(),
            # A message that was sent stays part of its thread when it is resent and that fails.
            thread_id=case((result.status == Status.SUCCESS.value, result.thread_id), else_=d.thread_id),
        )
        .returning(d.id, d.attempts)
    )


@cache
def _update_attempts(dialect: str) -> Update:
    result = _results_table(dialect).c
    return (
        update(attempt)
        .where(attempt.c.delivery_id == result.id, attempt.c.number == result.attempts, attempt.c.outcome.is_(None))
        .values(
            outcome=result.status,
            reason=result.attempt_reason,
            code=result.error,
            answer=result.answer,
            duration_ms=result.duration_ms,
            note=result.note,
        )
    )


def record(
    connection: Connection,
    scope: ClaimScope,
    results: Sequence[AttemptResult],
    schedule: Sequence[float],
    max_age: float,
    now: datetime,
    chance: Callable[[], float],
) -> list[bool]:
    """Record results. One that comes after another process has claimed the delivery changes nothing.

    Returns for each whether its delivery is final now.
    """
    rows = [_result_row(result, schedule, max_age, now, chance()) for result in results]
    parameters = bulk_parameter(connection, rows)
    begin_change(connection)
    updated = {tuple(row) for row in connection.execute(_update_deliveries(connection.dialect.name), parameters)}
    connection.execute(_update_attempts(connection.dialect.name), parameters)
    recorded = [entry for entry in results if (entry.claimed.delivery_id, entry.claimed.attempt) in updated]
    record_roots_and_replies(connection, recorded, now)
    _open_pauses(connection, scope, results, now)
    if any(row["attempt_reason"] == Reason.CONFIG for row in rows):
        # Another instance may have good credentials: a delivery refused here is due there.
        announce(connection)
    return [row["next_attempt_at"] is None for row in rows]


def _result_row(
    attempt_result: AttemptResult, schedule: Sequence[float], max_age: float, now: datetime, chance: float
) -> dict[str, Any]:
    claimed, result = attempt_result.claimed, attempt_result.result
    row: dict[str, Any] = {
        "id": claimed.delivery_id,
        "attempts": claimed.attempt,
        "updated_at": now,
        "duration_ms": attempt_result.duration_ms,
        "ambiguous": False,
        "step": 0,
        "attempt_reason": None,
        "next_attempt_at": None,
        "note": None,
        "thread_id": None,
    }
    if isinstance(result, Receipt):
        # A root's thread is set with the first reply.
        is_reply = claimed.reply_to is not None and result.in_thread
        return row | {
            "status": Status.SUCCESS.value,
            "provider_id": result.provider_id[:255],
            "answer": result.answer,
            "note": result.note,
            "thread_id": claimed.membership.thread_id if claimed.membership and is_reply else None,
        }
    expired = is_expired(result.reason, claimed.since, max_age, now)
    next_attempt_at = next_attempt(
        result,
        attempts=claimed.tries,
        schedule_step=claimed.schedule_step,
        queued_at=claimed.since,
        plain=claimed.plain,
        once=attempt_result.once,
        alone=attempt_result.alone,
        schedule=schedule,
        max_age=max_age,
        now=now,
        chance=chance,
    )
    return row | {
        "status": Status.FAILED.value,
        "error": result.code,
        "reason": Reason.EXPIRED.value if expired else result.reason.value,
        "attempt_reason": result.reason.value,
        "answer": result.detail,
        "ambiguous": result.reason is Reason.AMBIGUOUS,
        "step": int(result.reason in COUNTED),
        "next_attempt_at": next_attempt_at,
    }


def _open_pauses(connection: Connection, scope: ClaimScope, results: Sequence[AttemptResult], now: datetime) -> None:
    limits: dict[str, DeliveryError] = {}
    for attempt_result in results:
        error = attempt_result.result
        if isinstance(error, DeliveryError) and error.reason is Reason.RATE_LIMITED:
            limits["" if error.entire_provider else attempt_result.claimed.address_key] = error
    # Always in the same order: two daemons that write the same pauses must not wait for each other.
    for key, error in sorted(limits.items(), key=lambda item: item[0]):
        row = {"provider": scope.provider, "address_key": key, "since": now}
        until = now + timedelta(seconds=rate_limit_wait(error))
        change = {"until": until, "reason": error.reason.value, "code": error.code}
        upsert(connection, pauses, row | change, change)
