"""From a filter to conditions that an index serves: with any of them newest first is the order of an index."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from alertctl.deliveries.rows import attempt, delivery, event, users
from alertctl.models import Status, first_id
from alertctl.schemas import LogFilter

AHEAD = timedelta(seconds=10)
"""How far an id may run ahead of its row's time: a process that makes more than 4096 ids a millisecond counts on."""


def conditions(where: LogFilter) -> list[ColumnElement[bool]]:
    """Everything that must hold for a delivery."""
    columns = {
        "status": delivery.c.status,
        "event_type": delivery.c.event_type,
        "channel": delivery.c.channel,
        "error": delivery.c.error,
        "event_id": delivery.c.event_id,
    }
    given = where.given()
    found: list[ColumnElement[bool]] = [column == given[name] for name, column in columns.items() if name in given]
    if where.to is not None:
        found.append(delivery.c.address_key == where.to.casefold())
    return [*found, *_times(where), *_state(where), *_event(where), *_person(where), *_text(where)]


def _times(where: LogFilter) -> list[ColumnElement[bool]]:
    """Ids begin with their time: a range of them is what the indexes know; the row's own time decides."""
    found: list[ColumnElement[bool]] = []
    if where.since is not None:
        found += [delivery.c.id >= first_id(where.since), delivery.c.created_at >= where.since]
    if where.until is not None:
        found += [delivery.c.id < first_id(_later(where.until)), delivery.c.created_at < where.until]
    return found


def _later(moment: datetime) -> datetime:
    try:
        return moment + AHEAD
    except OverflowError:
        return moment


def _state(where: LogFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if where.retrying:
        found += [delivery.c.status == Status.FAILED.value, delivery.c.next_attempt_at.is_not(None)]
    if where.final:
        found += [delivery.c.next_attempt_at.is_(None)]
    return found


def _event(where: LogFilter) -> list[ColumnElement[bool]]:
    about = [
        column == value
        for column, value in ((event.c.feature_flag, where.flag), (event.c.experiment, where.experiment))
        if value is not None
    ]
    return [delivery.c.event_id.in_(select(event.c.id).where(*about))] if about else []


def _person(where: LogFilter) -> list[ColumnElement[bool]]:
    if where.user is None:
        return []
    named = select(users.c.id).where(or_(users.c.id == where.user, func.lower(users.c.email) == where.user.lower()))
    return [delivery.c.user_id.in_(named)]


def _text(where: LogFilter) -> list[ColumnElement[bool]]:
    """Anywhere in the event, the address, the error or what a provider said. The one filter that no index serves."""
    if where.grep is None:
        return []

    def holds(column: ColumnElement[str]) -> ColumnElement[bool]:
        return column.icontains(where.grep, autoescape=True)

    said = and_(attempt.c.delivery_id == delivery.c.id, or_(holds(attempt.c.answer), holds(attempt.c.code)))
    spoken = and_(event.c.id == delivery.c.event_id, holds(event.c.fields))
    return [or_(holds(delivery.c.address), holds(delivery.c.error), exists().where(spoken), exists().where(said))]
