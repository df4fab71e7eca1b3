"""Writing how attempts ended, and the pauses that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, FromClause, Update, bindparam, delete, func, or_, update

from alertctl.channels.base import Receipt, Verdict
from alertctl.errors import DeliveryError, Reason
from alertctl.models import Status, Urgency
from alertctl.outbox.changes import begin_change, this_change
from alertctl.outbox.claim import Lane
from alertctl.outbox.rows import PROBING, Claimed, attempt, delivery, pauses
from alertctl.retry import PauseWanted, Tried, next_attempt, pause
from alertctl.store import given, insert_or, packed

d = delivery.c


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended, and how many milliseconds it took (None: nothing was sent)."""

    claimed: Claimed
    verdict: Verdict
    duration_ms: int | None


def _ended(dialect: str) -> FromClause:
    """How attempts ended, as `_result` tells it, and the row of the delivery that it belongs to by `attempts`."""
    of_delivery = (d.id, d.attempts, d.status, d.error, d.reason, d.ambiguous, d.next_attempt_at, d.provider_id)
    return given(dialect, (*of_delivery, d.updated_at, attempt.c.answer, attempt.c.duration_ms))


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
            urgency=Urgency.RETRY,
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
            reason=ended.reason,
            code=ended.error,
            answer=ended.answer,
            duration_ms=ended.duration_ms,
        )
    )


def record(
    connection: Connection,
    lane: Lane,
    ended: Sequence[Ended],
    schedule: Sequence[float],
    now: datetime,
    chance: Callable[[], float],
) -> list[PauseWanted]:
    """Write how attempts ended; a result that comes after its lease was taken over changes nothing.

    Returns the pauses that it opened. A verdict on a message or its address closes the provider's breaker.
    """
    results = packed(connection, (_result(one, schedule, now, chance()) for one in ended))
    begin_change(connection)
    connection.execute(_record(connection.dialect.name), results)
    connection.execute(_end(connection.dialect.name), results)
    if any(_let_in(one.verdict) for one in ended):
        _close_breaker(connection, lane)
    return _open_pauses(connection, lane, ended, now)


def _let_in(verdict: Verdict) -> bool:
    """Whether the provider took our credentials: it judged the message or its address."""
    return isinstance(verdict, Receipt) or verdict.reason in (Reason.BAD_ADDRESS, Reason.REJECTED)


def _close_breaker(connection: Connection, lane: Lane) -> None:
    # Not a rate limit's pause: that one lasts as long as the provider said, whatever was on its way already.
    connection.execute(_CLOSE, {"of_provider": lane.provider})


_CLOSE = delete(pauses).where(
    pauses.c.provider == bindparam("of_provider"),
    pauses.c.address_key == "",
    or_(pauses.c.reason == Reason.CONFIG.value, pauses.c.reason == PROBING),
)


def _result(one: Ended, schedule: Sequence[float], now: datetime, chance: float) -> dict[str, Any]:
    claimed, verdict = one.claimed, one.verdict
    row: dict[str, Any] = {
        "id": claimed.delivery_id,
        "attempts": claimed.attempt,
        "updated_at": now,
        "duration_ms": one.duration_ms,
        "ambiguous": False,
    }
    if isinstance(verdict, Receipt):
        return row | {
            "status": Status.SUCCESS.value,
            "provider_id": verdict.provider_id[:255],
            "answer": verdict.answer,
        }
    return row | {
        "status": Status.FAILED.value,
        "error": verdict.code,
        "reason": verdict.reason.value,
        "answer": verdict.detail,
        "ambiguous": verdict.reason is Reason.AMBIGUOUS,
        "next_attempt_at": next_attempt(verdict, _tried(claimed, now), schedule, now, chance),
    }


def will_retry(one: Ended, schedule: Sequence[float], now: datetime) -> bool:
    """Whether a failed attempt leaves a delivery that will be tried again."""
    if isinstance(one.verdict, Receipt):
        return False
    return next_attempt(one.verdict, _tried(one.claimed, now), schedule, now, 0.0) is not None


def _tried(claimed: Claimed, now: datetime) -> Tried:
    return Tried(claimed.tries, (now - claimed.since).total_seconds(), claimed.plain)


def _open_pauses(connection: Connection, lane: Lane, ended: Sequence[Ended], now: datetime) -> list[PauseWanted]:
    opened: dict[str, tuple[PauseWanted, DeliveryError]] = {}
    for one in ended:
        wanted = pause(one.verdict, one.claimed.address_key) if isinstance(one.verdict, DeliveryError) else None
        if wanted is not None and isinstance(one.verdict, DeliveryError):
            opened[wanted.address or ""] = (wanted, one.verdict)
    # In one order for everybody: two daemons that write the same pauses must not wait for each other.
    for key, (wanted, error) in sorted(opened.items(), key=lambda each: each[0]):
        row = {"provider": lane.provider, "address_key": key, "since": now}
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
    return [wanted for wanted, _ in opened.values()]
