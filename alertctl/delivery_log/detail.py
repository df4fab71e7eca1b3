"""Read one delivery in detail, find it by a part of its id, and render its message."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, select

from alertctl.channels.base import Channel, MessageOptions, OutgoingMessage
from alertctl.delivery_log.tables import ITEM, attempt, build_item, delivery, event, item_fields, users
from alertctl.errors import NotFound, Reason
from alertctl.events import restore
from alertctl.events.wording import NO_WORDING, Wording
from alertctl.models import ID_LENGTH, columns_for
from alertctl.schemas import AttemptItem, DeliveryDetail, DeliveryItem, EventSummary, Rendered

MAX_OTHERS = 100
"""Other deliveries of the same event that the detail lists at most; the log has them all."""
MAX_REPLIES = 20
"""Replies in its thread that the detail of a root lists at most."""
SHORT_ID_LENGTH = 8
"""The length of a short id: the last characters of an id, which tables show."""


def items_of(connection: Connection, event_ids: Sequence[str]) -> dict[str, list[DeliveryItem]]:
    """Return the deliveries of some events, in the order in which they were routed."""
    items: dict[str, list[DeliveryItem]] = defaultdict(list)
    rows = select(*ITEM).where(delivery.c.event_id.in_(event_ids)).order_by(delivery.c.id)
    for row in connection.execute(rows):
        items[row.event_id].append(build_item(row))
    return items


def find_id(connection: Connection, part: str) -> str:
    """Return the id of the only delivery whose id has this part. Raises NotFound if there is none, or more than one."""
    id_part = part.strip().lower()
    if not id_part or len(id_part) > ID_LENGTH or set(id_part) - set("0123456789abcdef-"):
        raise NotFound(f"{part[:60]!r} is not an id or a part of one (letters a-f, digits, dashes)")
    for condition in _id_conditions(id_part):
        ids = connection.execute(select(delivery.c.id).where(condition).limit(3)).scalars().all()
        if len(ids) == 1:
            return str(ids[0])
        if ids:
            raise NotFound(f"{part!r} fits more than one delivery ({ids[0]}, {ids[1]}, …); add more of the id")
    raise NotFound(f"no delivery has an id that contains {part!r}; list them with alertctl log")


def _id_conditions(id_part: str) -> list[ColumnElement[bool]]:
    """Return the ways to match a part of an id, the cheapest first. The last has no index and reads all rows."""
    if len(id_part) == ID_LENGTH:
        return [delivery.c.id == id_part]
    conditions = [and_(delivery.c.id >= id_part, delivery.c.id < f"{id_part}g"), delivery.c.id.contains(id_part)]
    if len(id_part) == SHORT_ID_LENGTH:
        conditions.insert(0, func.substr(delivery.c.id, ID_LENGTH - SHORT_ID_LENGTH + 1) == id_part)
    return conditions


def detail(connection: Connection, id_part: str, wording: Wording = NO_WORDING) -> DeliveryDetail:
    """Return a delivery with its event in these words, every attempt, and the event's other deliveries.

    Raises NotFound.
    """
    delivery_id = find_id(connection, id_part)
    own = (delivery.c.routing_reason, delivery.c.route, delivery.c.options, delivery.c.edited_at)
    columns = select(*ITEM, *own, func.coalesce(users.c.email, users.c.id).label("user"))
    row = connection.execute(
        columns.select_from(delivery)
        .outerjoin(users, users.c.id == delivery.c.user_id)
        .where(delivery.c.id == delivery_id)
    ).one()
    attempts = select(*columns_for(AttemptItem, attempt)).where(attempt.c.delivery_id == delivery_id)
    others = select(*ITEM).where(delivery.c.event_id == row.event_id, delivery.c.id != delivery_id)
    return DeliveryDetail(
        **item_fields(row) | {"options": json.loads(row.options) if row.options else {}},
        event=_event_summary(connection, row.event_id, wording),
        attempt_log=[AttemptItem(**row._asdict()) for row in connection.execute(attempts.order_by(attempt.c.number))],
        others=[build_item(row) for row in connection.execute(others.order_by(delivery.c.id).limit(MAX_OTHERS))],
        replies=_newest_replies(connection, delivery_id) if row.thread_id == delivery_id else [],
    )


def _newest_replies(connection: Connection, thread_id: str) -> list[DeliveryItem]:
    """Return the newest replies in a thread, oldest first."""
    replies = select(*ITEM).where(delivery.c.thread_id == thread_id, delivery.c.id != thread_id)
    rows = connection.execute(replies.order_by(delivery.c.id.desc()).limit(MAX_REPLIES)).all()
    return [build_item(row) for row in reversed(rows)]


def _event_summary(connection: Connection, event_id: str, wording: Wording) -> EventSummary:
    row = connection.execute(select(event).where(event.c.id == event_id)).one()
    content = restore(row, wording=wording)
    stored = {column.name: row._mapping[column] for column in columns_for(EventSummary, event)}
    return EventSummary(**stored | {"fields": json.loads(row.fields)}, title=content.title, summary=content.summary)


def rendered(
    connection: Connection, channels: Mapping[str, Channel], id_part: str, wording: Wording = NO_WORDING
) -> Rendered:
    """Render the message again, from what was recorded, with these channels and words. Raises NotFound."""
    delivery_id = find_id(connection, id_part)
    row = connection.execute(select(delivery).where(delivery.c.id == delivery_id)).one()
    if row.channel not in channels:
        raise NotFound(f"delivery {delivery_id}: this version can't render messages for {row.channel}; use a newer one")
    content = restore(connection.execute(select(event).where(event.c.id == row.event_id)).one(), wording=wording)
    options = MessageOptions.from_json(row.options)
    outgoing = OutgoingMessage(
        delivery_id,
        row.address,
        plain=row.reason == Reason.REJECTED,
        routing_reason=row.routing_reason,
        route=row.route,
        options=options,
        mentions=options.mentions_at(content.severity),
    )
    return Rendered(
        channel=row.channel,
        to=row.address,
        routing_reason=row.routing_reason,
        suppressed_reason=row.error if row.status == "suppressed" else None,
        message=channels[row.channel].render(content, outgoing),
        route=row.route,
    )
