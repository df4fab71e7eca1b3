"""One delivery's whole story, and names for ids."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from alertctl.channels.base import Channel, OutgoingMessage
from alertctl.delivery_log.tables import ITEM, attempt, delivery, event, facts, item, users
from alertctl.errors import NotFound, Reason
from alertctl.events import restore
from alertctl.models import ID_LENGTH
from alertctl.schemas import AttemptItem, DeliveryDetail, DeliveryItem, EventSummary, Rendered

OTHERS = 100
"""Other deliveries of the same event that a story names at most; the log has them all."""
TAIL = 8
"""An id's last characters, by which tables show it."""
_ATTEMPT = tuple(one.name for one in fields(AttemptItem))


def items_of(connection: Connection, event_ids: Sequence[str]) -> dict[str, list[DeliveryItem]]:
    """The deliveries of some events, in the order in which they were routed."""
    found: dict[str, list[DeliveryItem]] = defaultdict(list)
    rows = select(*ITEM).where(delivery.c.event_id.in_(event_ids)).order_by(delivery.c.id)
    for row in connection.execute(rows):
        found[row.event_id].append(item(row))
    return found


def find_id(connection: Connection, part: str) -> str:
    """The one delivery whose id has this part. Raises NotFound when there is none, or more than one."""
    word = part.strip().lower()
    if not word or len(word) > ID_LENGTH or set(word) - set("0123456789abcdef-"):
        raise NotFound(f"{part[:60]!r} is not an id or a part of one (letters a-f, digits, dashes)")
    for condition in _fitting(word):
        ids = connection.execute(select(delivery.c.id).where(condition).limit(3)).scalars().all()
        if len(ids) == 1:
            return str(ids[0])
        if ids:
            raise NotFound(f"{part!r} fits more than one delivery ({ids[0]}, {ids[1]}, …): give more of the id")
    raise NotFound(f"no delivery has an id with {part!r} in it")


def _fitting(word: str) -> list[ColumnElement[bool]]:
    """What an id may look like, the cheapest first; only the last one has no index and reads them all."""
    whole, begins = delivery.c.id == word, and_(delivery.c.id >= word, delivery.c.id < f"{word}g")
    if len(word) == ID_LENGTH:
        return [whole]
    ends = [func.substr(delivery.c.id, ID_LENGTH - TAIL + 1) == word] if len(word) == TAIL else []
    return [*ends, begins, delivery.c.id.contains(word)]


def detail(connection: Connection, id_part: str) -> DeliveryDetail:
    """One delivery with its event, every attempt, and the event's other deliveries. Raises NotFound."""
    one = find_id(connection, id_part)
    whole = select(*ITEM, delivery.c.rule, func.coalesce(users.c.email, users.c.id).label("user"))
    found = connection.execute(
        whole.select_from(delivery).outerjoin(users, users.c.id == delivery.c.user_id).where(delivery.c.id == one)
    ).one()
    tries = connection.execute(select(attempt).where(attempt.c.delivery_id == one).order_by(attempt.c.number))
    around = select(*ITEM).where(delivery.c.event_id == found.event_id, delivery.c.id != one)
    return DeliveryDetail(
        **facts(found),
        event=_summary(connection, found.event_id),
        attempt_log=[AttemptItem(**{name: row._mapping[name] for name in _ATTEMPT}) for row in tries],
        others=[item(row) for row in connection.execute(around.order_by(delivery.c.id).limit(OTHERS))],
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


def rendered(connection: Connection, channels: Mapping[str, Channel], id_part: str) -> Rendered:
    """The message as its channel makes it, with these settings, from what was recorded. Raises NotFound."""
    one = find_id(connection, id_part)
    columns: tuple[Any, ...] = (delivery.c.event_id, delivery.c.channel, delivery.c.address, delivery.c.rule)
    held = (delivery.c.status, delivery.c.error, delivery.c.reason)
    row = connection.execute(select(*columns, *held).where(delivery.c.id == one)).one()
    content = restore(connection.execute(select(event).where(event.c.id == row.event_id)).one())
    outgoing = OutgoingMessage(one, row.address, plain=row.reason == Reason.REJECTED)
    return Rendered(
        channel=row.channel,
        to=row.address,
        rule=row.rule,
        suppressed_reason=row.error if row.status == "suppressed" else None,
        message=channels[row.channel].render(content, outgoing),
    )
