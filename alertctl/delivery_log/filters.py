"""From a filter to conditions: which deliveries are meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, literal_column, or_, select
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from alertctl.addresses import email_key, search_key
from alertctl.delivery_log.tables import attempt, delivery, event, users
from alertctl.ids import first_id
from alertctl.models import Status
from alertctl.schemas import LogFilter

AHEAD = timedelta(seconds=10)
"""How far an id may run ahead of its row's time: a process that makes more than 4096 ids a millisecond counts on."""
COLUMNS = {
    "to": delivery.c.address_key,
    "status": delivery.c.status,
    "event_type": delivery.c.event_type,
    "channel": delivery.c.channel,
    "error": delivery.c.error,
    "event_id": delivery.c.event_id,
    "user": delivery.c.user_id,
}
"""The filters that ask for a column's value."""


def settled(connection: Connection, where: LogFilter) -> LogFilter:
    """The filter as the tables have it: a user by their id, an address by its key."""
    user, to = where.user, where.to
    if user is not None:
        # A user's email is stored as its key (`users.add_user`).
        email = email_key(user)
        user = connection.execute(select(users.c.id).where(users.c.email == email)).scalar() or user
    return replace(where, user=user, to=search_key(to) if to is not None else None)


def times(where: LogFilter) -> list[ColumnElement[bool]]:
    """Ids begin with their time: a range of them is what the indexes know; the row's own time decides."""
    low, high = span(where)
    found: list[ColumnElement[bool]] = []
    if where.since is not None:
        found += [delivery.c.id >= low, delivery.c.created_at >= where.since]
    if where.until is not None:
        found += [delivery.c.id < high, delivery.c.created_at < where.until]
    return found


def span(where: LogFilter) -> tuple[str, str]:
    """The ids that `since` and `until` leave: from the first on, before the second."""
    low = first_id(where.since) if where.since is not None else ""
    return low, first_id(later(where.until)) if where.until is not None else BEHIND


BEHIND = "g"
"""Behind every id."""


def later(moment: datetime) -> datetime:
    """The moment whose first id surely stands behind what was made before `moment`."""
    try:
        return moment + AHEAD
    except OverflowError:
        return moment


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column with a plus sign, so that SQLite takes no index for its sake."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def others(where: LogFilter, *, by_index: bool = True) -> list[ColumnElement[bool]]:
    """What is neither a value, a time, nor the event's: how it stands, and a text."""
    found: list[ColumnElement[bool]] = []
    if where.retrying:
        # As the partial index has it, word for word.
        failed: ColumnElement[str] = literal_column(f"'{Status.FAILED.value}'")
        status = delivery.c.status if by_index else unindexed(delivery.c.status)
        found += [status == failed, delivery.c.next_attempt_at.is_not(None)]
    if where.final:
        found += [delivery.c.next_attempt_at.is_(None)]
    return found if where.grep is None else [*found, _holds(where.grep)]


def about(where: LogFilter) -> list[tuple[Column[str], str]]:
    """The columns of the delivery's event that are asked for, with their values."""
    pairs = ((event.c.feature_flag, where.flag), (event.c.experiment, where.experiment))
    return [(column, value) for column, value in pairs if value is not None]


def of_events(where: LogFilter) -> list[ColumnElement[bool]]:
    """What must hold for a delivery that such an event has."""
    same = [column == value for column, value in about(where)]
    return [delivery.c.event_id.in_(select(event.c.id).where(*same))] if same else []


def _holds(words: str) -> ColumnElement[bool]:
    """Anywhere in the event, the address, the error or what a provider said. The one filter that no index serves."""

    def holds(column: ColumnElement[str]) -> ColumnElement[bool]:
        return column.icontains(words, autoescape=True)

    said = and_(attempt.c.delivery_id == delivery.c.id, or_(holds(attempt.c.answer), holds(attempt.c.code)))
    spoken = and_(event.c.id == delivery.c.event_id, holds(event.c.fields))
    # OFFSET 0 keeps Postgres from reading all events and all attempts once instead of those of each delivery.
    looked = [select(1).where(one).correlate(delivery).offset(0).exists() for one in (spoken, said)]
    return or_(holds(delivery.c.address), holds(delivery.c.error), *looked)
