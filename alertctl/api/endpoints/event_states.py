"""How one event's deliveries stand, with a wait for their verdicts: what `send` and `send --wait` ask a server."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query
from sqlalchemy import select

from alertctl import delivery_log
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.api.errors import declared
from alertctl.errors import NotFound
from alertctl.models import Status
from alertctl.publish import event
from alertctl.schemas import DeliveryItem, EventState

router = APIRouter(prefix=BASE, tags=["events"])
LONGEST = 30.0
"""Seconds that one call waits at most: proxies hang up on longer silence."""
FIRST_LOOK, LAST_LOOK = 0.02, 0.5
"""Seconds between two looks into the database: short ones first, then ever longer ones."""
MOVING = (Status.PENDING, Status.SENDING)


@router.get("/events/{event_id}", responses=declared(404))
async def state(
    _caller: Developer,
    services: ServicesDep,
    event_id: Annotated[str, Path(min_length=1)],
    wait: Annotated[float, Query(ge=0, le=LONGEST, description="seconds to wait at most")] = 0.0,
    until: Annotated[
        Literal["tried", "final"],
        Query(description="what to wait for: a first try at each delivery, or nothing more to come"),
    ] = "final",
) -> EventState:
    """An event's deliveries as they stand, or once `until` holds for all of them."""
    deadline, pause = time.monotonic() + wait, FIRST_LOOK
    while True:
        found = await run_sync(_look, services, event_id)
        left = deadline - time.monotonic()
        if left <= 0 or (found.final if until == "final" else is_tried(found.deliveries)):
            return found
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LAST_LOOK)


def _look(services: Services, event_id: str) -> EventState:
    # NUL is no part of any id, and Postgres refuses to compare with it.
    event_id = event_id.replace("\0", "")
    with services.store.reading() as connection:
        items = delivery_log.items_of(connection, [event_id]).get(event_id, [])
        event_type = connection.execute(select(event.c.event_type).where(event.c.id == event_id)).scalar()
    if event_type is None:
        raise NotFound(f"no event has the id {event_id}")
    return EventState(event_id=event_id, event_type=event_type, final=is_final(items), deliveries=items)


def is_tried(items: list[DeliveryItem]) -> bool:
    return all(item.status not in MOVING for item in items)


def is_final(items: list[DeliveryItem]) -> bool:
    return all(item.status not in MOVING and item.next_attempt_at is None for item in items)
