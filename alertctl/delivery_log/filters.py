"""Turn a log filter into SQL conditions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, literal_column, or_, select
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from alertctl.addresses import email_key, search_key
from alertctl.delivery_log.tables import attempt, delivery, event, event_label, users
from alertctl.ids import first_id
from alertctl.models import Status
from alertctl.schemas import LogFilter

ID_LEAD = timedelta(seconds=10)
"""How far an id's time may be ahead of its row's: making over 4096 ids in a millisecond counts on."""
COLUMNS = {
    "to": delivery.c.address_key,
    "status": delivery.c.status,
    "event_type": delivery.c.event_type,
    "channel": delivery.c.channel,
    "error": delivery.c.error,
    "event_id": delivery.c.event_id,
    "user": delivery.c.user_id,
}
"""The filters that compare a column with a value."""


def normalized(connection: Connection, where: LogFilter) -> LogFilter:
    """Return the filter with the values that the tables hold: a user's id, an address's key."""
    user, to = where.user, where.to
    if user is not None:
        # A user's email is stored as its key (`users.add_user`).
        email = email_key(user)
        user = connection.execute(select(users.c.id).where(users.c.email == email)).scalar() or user
    return replace(where, user=user, to=search_key(to) if to is not None else None)


def time_conditions(where: LogFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of `since` and `until`.

    Ids begin with their time. The indexes narrow the search by a range of ids; the row's own time decides.
    """
    low, high = id_range(where)
    conditions: list[ColumnElement[bool]] = []
    if where.since is not None:
        conditions += [delivery.c.id >= low, delivery.c.created_at >= where.since]
    if where.until is not None:
        conditions += [delivery.c.id < high, delivery.c.created_at < where.until]
    return conditions


def id_range(where: LogFilter) -> tuple[str, str]:
    """Return the ids between `since` and `until`: from the first on, below the second."""
    low = first_id(where.since) if where.since is not None else ""
    return low, first_id(add_id_lead(where.until)) if where.until is not None else MAX_ID


MAX_ID = "g"
"""Sorts after every id."""


def add_id_lead(moment: datetime) -> datetime:
    """Return a time whose first id sorts after every id made before `moment`."""
    try:
        return moment + ID_LEAD
    except OverflowError:
        return moment


def without_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column with a plus sign, which keeps SQLite from using an index on it."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def other_conditions(where: LogFilter, *, by_index: bool = True) -> list[ColumnElement[bool]]:
    """Return the conditions of `retrying`, `final` and `grep`."""
    conditions: list[ColumnElement[bool]] = []
    if where.retrying:
        # Word for word as in the partial index.
        failed: ColumnElement[str] = literal_column(f"'{Status.FAILED.value}'")
        status = delivery.c.status if by_index else without_index(delivery.c.status)
        conditions += [status == failed, delivery.c.next_attempt_at.is_not(None)]
    if where.final:
        conditions += [delivery.c.next_attempt_at.is_(None)]
    return conditions if where.grep is None else [*conditions, _contains(where.grep)]


def event_values(where: LogFilter) -> list[tuple[Column[str], str]]:
    """Return the columns of the delivery's event that the filter compares, with their values."""
    pairs = ((event.c.feature_flag, where.flag), (event.c.experiment, where.experiment))
    return [(column, value) for column, value in pairs if value is not None]


def is_about_events(where: LogFilter) -> bool:
    """Return whether the filter has conditions on the delivery's event (`flag`, `experiment`, `labels`)."""
    return bool(event_values(where) or where.labels)


def event_index(where: LogFilter) -> tuple[list[tuple[Column[str], str]], Column[str], list[ColumnElement[bool]]]:
    """Return the columns of an index that leads to the filter's events, with their values; the index's last column,
    an event's id; and the filter's other conditions on events.
    """
    values, labels = event_values(where), list(where.labels.items())
    if values:
        return values[:1], event.c.id, [*_equal(values[1:]), *(has_label(event.c.id, *label) for label in labels)]
    (name, value), *others = labels
    key = event_label.c.event_id
    return [(event_label.c.name, name), (event_label.c.value, value)], key, [has_label(key, *label) for label in others]


def _equal(values: Iterable[tuple[Column[str], str]]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in values]


def has_label(event_id: Column[str], name: str, value: str) -> ColumnElement[bool]:
    """Return the condition that an event has a label, looked up for each event."""
    label = event_label.alias()
    return _exists_for(event_id, label.c.event_id == event_id, label.c.name == name, label.c.value == value)


def _exists_for(key: Column[str], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    # OFFSET 0 keeps Postgres from reading all rows that match instead of those of each key.
    return select(1).where(*conditions).correlate(key.table).offset(0).exists()


def event_conditions(where: LogFilter, *, by_index: bool = True) -> list[ColumnElement[bool]]:
    """Return the conditions on the delivery's event. `by_index`: find all events first, else check each row's."""
    if not is_about_events(where):
        return []
    if by_index:
        values, key, others = event_index(where)
        return [delivery.c.event_id.in_(select(key).where(*_equal(values), *others))]
    event_id, same = delivery.c.event_id, _equal(event_values(where))
    in_event = [_exists_for(event_id, event.c.id == event_id, *same)] if same else []
    return [*in_event, *(has_label(event_id, *label) for label in where.labels.items())]


def _contains(text: str) -> ColumnElement[bool]:
    """Search the event, the address, the error and the providers' answers. No index serves this filter."""

    def contains(column: ColumnElement[str]) -> ColumnElement[bool]:
        return column.icontains(text, autoescape=True)

    event_id, delivery_id = delivery.c.event_id, delivery.c.id
    in_event = or_(contains(event.c.fields), contains(event.c.labels))
    in_attempts = or_(contains(attempt.c.answer), contains(attempt.c.code))
    return or_(
        contains(delivery.c.address),
        contains(delivery.c.error),
        _exists_for(event_id, event.c.id == event_id, in_event),
        _exists_for(delivery_id, attempt.c.delivery_id == delivery_id, in_attempts),
    )
