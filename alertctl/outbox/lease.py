"""Give claims back, and renew their leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, update
from sqlalchemy.sql.dml import ReturningUpdate

from alertctl.db import bulk_parameter, bulk_rows
from alertctl.models import Status
from alertctl.outbox.change_sequence import begin_change, this_change
from alertctl.outbox.tables import Claimed, attempt, delivery
from alertctl.outbox.threads import release_root, renew_roots

_RELEASE = (
    update(delivery)
    .where(delivery.c.id == bindparam("b_id"))
    .values(
        attempts=delivery.c.attempts - 1,
        next_attempt_at=bindparam("b_at"),
        status=case((delivery.c.attempts - 1 > delivery.c.attempts_before_resend, "failed"), else_="pending"),
    )
)


def postpone(connection: Connection, moments: Mapping[str, datetime]) -> None:
    """Undo claims in the transaction that made them: uncounted, due at these moments."""
    if moments:
        connection.execute(_RELEASE, [{"b_id": id_, "b_at": moment} for id_, moment in moments.items()])


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
            if claimed.new_thread_id is not None:
                release_root(connection, claimed.new_thread_id)


def renew(connection: Connection, claims: Sequence[Claimed], until: datetime) -> set[str]:
    """Move the end of these claims' leases to `until`. Return the ids of those that no other process has taken."""
    if not claims:
        return set()
    rows = [{"id": claimed.delivery_id, "attempts": claimed.attempt} for claimed in claims]
    parameters = {**bulk_parameter(connection, rows), "of_end": until}
    renewed = set(connection.execute(_renew_statement(connection.dialect.name), parameters).scalars())
    roots = [claimed.new_thread_id for claimed in claims if claimed.new_thread_id and claimed.delivery_id in renewed]
    renew_roots(connection, roots, until)
    return renewed


@cache
def _renew_statement(dialect: str) -> ReturningUpdate[Any]:
    renewed = bulk_rows(dialect, (delivery.c.id, delivery.c.attempts)).c
    return (
        update(delivery)
        # coalesce keeps both databases from using the index on status, as in `record`.
        .where(
            delivery.c.id == renewed.id,
            delivery.c.attempts == renewed.attempts,
            func.coalesce(delivery.c.status, "") == Status.SENDING.value,
        )
        .values(next_attempt_at=bindparam("of_end"))
        .returning(delivery.c.id)
    )
