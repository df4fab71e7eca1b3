"""End deliveries that have waited too long: their event's `expires_at`, or ALERTCTL_MAX_AGE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, or_, select, true, update

from alertctl.errors import Reason
from alertctl.models import Status
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.tables import SWEEP, delivery, event, is_selected_for_update


def expire(connection: Connection, max_age: float, paused: Mapping[str, datetime], now: datetime) -> int:
    """Mark deliveries that waited too long as expired, at most SWEEP at once. Return how many. `max_age` in seconds.

    `paused` has the channels whose circuit breaker is open in this process, and since when. There a delivery that was
    refused expires by its own age, and one that was never tried once the breaker itself has been open for `max_age`.
    Elsewhere nothing expires by age: a delivery that waited for a daemon is tried once.
    `error` keeps the provider's code.
    """
    oldest = now - timedelta(seconds=max_age)
    overdue = select(event.c.id).where(event.c.id == delivery.c.event_id, event.c.expires_at <= now).exists()
    too_old = delivery.c.queued_at <= oldest
    refused = delivery.c.reason == Reason.CONFIG.value
    waited_too_long = [
        and_(delivery.c.channel == channel, too_old, true() if since <= oldest else refused)
        for channel, since in paused.items()
    ]
    waits = (delivery.c.next_attempt_at.is_not(None), delivery.c.status != Status.SENDING.value)
    rows = select(delivery.c.id).where(*waits, or_(overdue, *waited_too_long)).order_by(delivery.c.id)
    if connection.execute(rows.limit(1)).first() is None:
        return 0
    begin_change(connection)
    changes = {
        "status": Status.FAILED.value,
        "reason": Reason.EXPIRED.value,
        "error": func.coalesce(delivery.c.error, Reason.EXPIRED.value),
        "next_attempt_at": None,
        "updated_at": now,
        "change": this_change(),
    }
    expired = update(delivery).where(is_selected_for_update(rows.limit(SWEEP))).values(changes)
    return len(connection.execute(expired.returning(delivery.c.id)).all())
