"""Writing how attempts ended, and the pauses that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, or_, update

from alertctl.channels.base import Receipt, Verdict
from alertctl.errors import DeliveryError, Reason
from alertctl.models import Status, Urgency
from alertctl.outbox.changes import begin_change, this_change
from alertctl.outbox.claim import Lane
from alertctl.outbox.rows import PROBING, Claimed, attempt, delivery, pauses
from alertctl.retry import PauseWanted, Tried, next_attempt, pause
from alertctl.store import insert_or


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended, and how many milliseconds it took (None: nothing was sent)."""

    claimed: Claimed
    verdict: Verdict
    duration_ms: int | None


_RECORD = (
    update(delivery)
    .where(
        delivery.c.id == bindparam("b_id"),
        delivery.c.attempts == bindparam("b_attempt"),
        delivery.c.status == Status.SENDING.value,
    )
    .values(
        status=bindparam("b_status"),
        error=bindparam("b_error"),
        reason=bindparam("b_reason"),
        ambiguous=or_(delivery.c.ambiguous, bindparam("b_ambiguous")),
        next_attempt_at=bindparam("b_next"),
        provider_id=bindparam("b_provider_id"),
        urgency=Urgency.RETRY,
        updated_at=bindparam("b_now"),
        change=this_change(),
    )
)
_END = (
    update(attempt)
    .where(
        attempt.c.delivery_id == bindparam("b_id"),
        attempt.c.number == bindparam("b_attempt"),
        attempt.c.outcome.is_(None),
    )
    .values(
        outcome=bindparam("b_status"),
        reason=bindparam("b_reason"),
        code=bindparam("b_error"),
        answer=bindparam("b_answer"),
        duration_ms=bindparam("b_duration"),
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
    results = [_result(one, schedule, now, chance()) for one in ended]
    begin_change(connection)
    connection.execute(
        _RECORD, [{k: v for k, v in row.items() if k not in ("b_answer", "b_duration")} for row in results]
    )
    connection.execute(_END, [{k: row[k] for k in _ENDING} for row in results])
    if any(_let_in(one.verdict) for one in ended):
        _close_breaker(connection, lane)
    return _open_pauses(connection, lane, ended, now)


def _let_in(verdict: Verdict) -> bool:
    """Whether the provider took our credentials: it judged the message or its address."""
    return isinstance(verdict, Receipt) or verdict.reason in (Reason.BAD_ADDRESS, Reason.REJECTED)


def _close_breaker(connection: Connection, lane: Lane) -> None:
    # Not a rate limit's pause: that one lasts as long as the provider said, whatever was on its way already.
    breaker = (pauses.c.provider == lane.provider, pauses.c.address_key == "")
    connection.execute(delete(pauses).where(*breaker, pauses.c.reason.in_((Reason.CONFIG.value, PROBING))))


_ENDING = ("b_id", "b_attempt", "b_status", "b_reason", "b_error", "b_answer", "b_duration")


def _result(one: Ended, schedule: Sequence[float], now: datetime, chance: float) -> dict[str, Any]:
    claimed, verdict = one.claimed, one.verdict
    row: dict[str, Any] = {
        "b_id": claimed.delivery_id,
        "b_attempt": claimed.attempt,
        "b_now": now,
        "b_duration": one.duration_ms,
        "b_next": None,
        "b_error": None,
        "b_reason": None,
        "b_ambiguous": False,
        "b_provider_id": None,
    }
    if isinstance(verdict, Receipt):
        return row | {
            "b_status": Status.SUCCESS.value,
            "b_provider_id": verdict.provider_id[:255],
            "b_answer": verdict.answer,
        }
    return row | {
        "b_status": Status.FAILED.value,
        "b_error": verdict.code,
        "b_reason": verdict.reason.value,
        "b_answer": verdict.detail,
        "b_ambiguous": verdict.reason is Reason.AMBIGUOUS,
        "b_next": next_attempt(verdict, _tried(claimed, now), schedule, now, chance),
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
