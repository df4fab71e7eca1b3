"""The delivery log's readers: pages, one delivery's whole story, and names for ids."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select
from sqlmodel import SQLModel

from alertctl.errors import InvalidEvent, NotFound
from alertctl.events import restore
from alertctl.models import Attempt, Delivery, Event, Pause, Status, User
from alertctl.routing import CHANNELS
from alertctl.schemas import AttemptItem, DeliveryDetail, DeliveryItem, EventSummary, LogFilter, Page

TABLES = SQLModel.metadata.tables
delivery = TABLES[str(Delivery.__tablename__)]
attempt = TABLES[str(Attempt.__tablename__)]
event = TABLES[str(Event.__tablename__)]
users = TABLES[str(User.__tablename__)]
pauses = TABLES[str(Pause.__tablename__)]

_ITEM = (
    delivery.c.id,
    delivery.c.event_type,
    delivery.c.channel,
    delivery.c.address.label("to"),
    delivery.c.status,
    delivery.c.error,
    delivery.c.attempts,
    delivery.c.next_attempt_at,
    delivery.c.created_at,
    delivery.c.event_id,
    delivery.c.reason,
    delivery.c.ambiguous,
    delivery.c.provider_id,
    delivery.c.updated_at,
)
_ATTEMPT = tuple(one.name for one in fields(AttemptItem))
DEEPEST = 10**9
"""The last row that a page number reaches; a cursor goes on."""


def page(
    connection: Connection, where: LogFilter, *, limit: int = 20, page: int = 1, cursor: str | None = None
) -> Page:
    """Newest first, in a stable order. `cursor` (a page's `next_cursor`) costs the same at any depth and wins."""
    conditions = _conditions(where)
    rows = select(*_ITEM).where(*conditions).order_by(delivery.c.id.desc()).limit(limit + 1)
    # A page number begins at an offset, a cursor at an id: only the second costs the same everywhere.
    rows = rows.offset(min((page - 1) * limit, DEEPEST)) if cursor is None else rows.where(delivery.c.id < cursor)
    found = [_item(row) for row in connection.execute(rows)]
    total = connection.execute(select(func.count()).select_from(delivery).where(*conditions)).scalar_one()
    more = found[limit - 1].id if len(found) > limit else None
    return Page(items=found[:limit], total=total, page=page, limit=limit, next_cursor=more)


def _conditions(where: LogFilter) -> list[ColumnElement[bool]]:
    columns = {
        "status": delivery.c.status,
        "event_type": delivery.c.event_type,
        "channel": delivery.c.channel,
        "error": delivery.c.error,
        "event_id": delivery.c.event_id,
    }
    given = where.given()
    conditions: list[ColumnElement[bool]] = [column == given[name] for name, column in columns.items() if name in given]
    if where.to is not None:
        conditions.append(delivery.c.address_key == where.to.casefold())
    if where.since is not None:
        conditions.append(delivery.c.created_at >= where.since)
    if where.until is not None:
        conditions.append(delivery.c.created_at < where.until)
    return conditions


def _item(row: Any) -> DeliveryItem:
    return DeliveryItem(**_facts(row))


def _facts(row: Any) -> dict[str, Any]:
    facts = dict(row._mapping)
    if row.status == Status.SUCCESS:
        facts["latency_ms"] = round((row.updated_at - row.created_at).total_seconds() * 1000)
    return facts


def items_of(connection: Connection, event_ids: Sequence[str]) -> dict[str, list[DeliveryItem]]:
    """The deliveries of some events, in the order in which they were routed."""
    found: dict[str, list[DeliveryItem]] = defaultdict(list)
    rows = select(*_ITEM).where(delivery.c.event_id.in_(event_ids)).order_by(delivery.c.id)
    for row in connection.execute(rows):
        found[row.event_id].append(_item(row))
    return found


def find_id(connection: Connection, part: str) -> str:
    """The one delivery whose id has this part. Raises NotFound when there is none, or more than one."""
    word = part.strip().lower()
    if not word or len(word) > 36 or set(word) - set("0123456789abcdef-"):
        raise NotFound(f"{part[:60]!r} is not an id or a part of one (letters a-f, digits, dashes)")
    for condition in (delivery.c.id == word, delivery.c.id.startswith(word), delivery.c.id.contains(word)):
        ids = connection.execute(select(delivery.c.id).where(condition).limit(3)).scalars().all()
        if len(ids) == 1:
            return str(ids[0])
        if ids:
            raise NotFound(f"{part!r} fits more than one delivery ({ids[0]}, {ids[1]}, …): give more of the id")
    raise NotFound(f"no delivery has an id with {part!r} in it")


def detail(connection: Connection, id_part: str) -> DeliveryDetail:
    """One delivery with its event, every attempt, and the event's other deliveries. Raises NotFound."""
    one = find_id(connection, id_part)
    whole = select(*_ITEM, delivery.c.rule, users.c.email.label("user"))
    found = connection.execute(
        whole.select_from(delivery).outerjoin(users, users.c.id == delivery.c.user_id).where(delivery.c.id == one)
    ).one()
    tries = connection.execute(select(attempt).where(attempt.c.delivery_id == one).order_by(attempt.c.number))
    around = items_of(connection, [found.event_id])[found.event_id]
    return DeliveryDetail(
        **_facts(found),
        event=_summary(connection, found.event_id),
        attempt_log=[AttemptItem(**{name: row._mapping[name] for name in _ATTEMPT}) for row in tries],
        others=[item for item in around if item.id != one][:100],
    )


def _summary(connection: Connection, event_id: str) -> EventSummary:
    row = connection.execute(select(event).where(event.c.id == event_id)).one()
    content = restore(row)
    return EventSummary(
        id=row.id,
        event_type=row.event_type,
        severity=row.severity,
        title=content.title,
        summary=content.summary,
        fields=json.loads(row.fields),
        occurred_at=row.occurred_at,
        created_at=row.created_at,
        published_by=row.published_by,
        is_test=row.is_test,
        expires_at=row.expires_at,
    )


def the_cursor(text: str) -> str:
    """A cursor as a caller gave it. Raises InvalidEvent."""
    if not text or len(text) > 36 or set(text) - set("0123456789abcdef-"):
        raise InvalidEvent("cursor", "should be the next_cursor of an earlier page")
    return text


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits: deliveries that aren't final by channel, seconds the oldest due one is late, paused providers."""

    depth: dict[str, int]
    oldest_due_seconds: float
    paused: list[str]


def queue(connection: Connection, now: datetime) -> Queue:
    """How the outbox stands; costs what waits, not what the log holds."""
    waiting = select(delivery.c.channel, func.count()).where(delivery.c.next_attempt_at.is_not(None))
    depth = dict.fromkeys(CHANNELS, 0)
    depth.update({str(name): int(count) for name, count in connection.execute(waiting.group_by(delivery.c.channel))})
    due = delivery.c.next_attempt_at <= now
    oldest = connection.execute(select(func.min(delivery.c.next_attempt_at)).where(due)).scalar()
    left_alone = select(pauses.c.provider).where(pauses.c.address_key == "", pauses.c.until > now)
    return Queue(
        depth=depth,
        oldest_due_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        paused=[str(name) for name in connection.execute(left_alone.order_by(pauses.c.provider)).scalars()],
    )
