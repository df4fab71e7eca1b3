"""Correct the queue after the clock was set back: times that the old clock wrote lie in the future."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, case, delete, or_, select, update

from alertctl.models import Status
from alertctl.outbox.tables import SWEEP, delivery, is_selected_for_update, pauses

TOLERANCE = timedelta(minutes=5)
"""Two machines' clocks may differ by this much without any correction."""


def correct_future_times(connection: Connection, now: datetime, lease: float) -> int:
    """Make deliveries and pauses that were written more than TOLERANCE in the future due, at most SWEEP at once.

    Return how many deliveries. One that is being sent becomes due when a new lease of `lease` seconds ends.
    """
    latest = now + TOLERANCE
    in_future = delivery.c.updated_at > latest
    ends_of_pauses = select(pauses.c.until).where(pauses.c.since > latest)
    rows = select(delivery.c.id).where(
        delivery.c.next_attempt_at.is_not(None),
        delivery.c.next_attempt_at > latest,
        or_(in_future, delivery.c.next_attempt_at.in_(ends_of_pauses)),
    )
    due_at = case((delivery.c.status == Status.SENDING.value, now + timedelta(seconds=lease)), else_=now)
    corrected = update(delivery).where(is_selected_for_update(rows.order_by(delivery.c.id).limit(SWEEP)))
    corrected = corrected.values(next_attempt_at=due_at, updated_at=now)
    count = len(connection.execute(corrected.returning(delivery.c.id)).all())
    if count < SWEEP:
        connection.execute(delete(pauses).where(pauses.c.since > latest))
    return count
