"""Following the delivery log over Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from alertctl import delivery_log
from alertctl.api.auth import Admin, Requires
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.api.endpoints.log_filters import Filters, Word
from alertctl.errors import NotAllowed, Unreachable
from alertctl.schemas import DeliveryItem, as_json
from alertctl.users import Role

router = APIRouter(prefix=f"{BASE}/delivery-log", tags=["delivery log"])
LOOK_SECONDS = 0.25
"""Between two looks into the database."""
QUIET_SECONDS = 5.0
"""After so long without news a comment says that the line is alive; proxies drop a silent one after 30 s and more."""
STREAMS = 50
"""Streams at once: each looks into the database a few times a second."""
PART = 500
"""Deliveries that are read at once."""
ALLOWED = Requires(Role.ADMIN)


class Follow(Filters):
    """What to follow. `after` is the id of the last event that was heard; the header Last-Event-ID wins over it."""

    after: Word = Field(None, description="go on behind this event of an earlier stream")


class _Open:
    """How many streams there are."""

    number = 0


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-Sent Events: `event: delivery`, `data:` a delivery as JSON, `id:` where it stands",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def stream(
    _caller: Admin,
    services: ServicesDep,
    request: Request,
    asked: Annotated[Follow, Query()],
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Deliveries as they come and as they change, each state once; `since` asks for what there is already, first.

    What is being sent is passed over: its verdict follows. A client that comes back with the id of the last event that
    it heard misses nothing.
    """
    after = last_event_id or asked.after
    if after:
        delivery_log.parse_position(after)
    else:
        after = await run_sync(_begin, services, asked.since is not None)
    if _Open.number >= STREAMS:
        raise HTTPException(503, f"{STREAMS} streams are open already: close one, or try again later")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_told(services, request, asked, after), media_type="text/event-stream", headers=headers)


def _begin(services: Services, history: bool) -> str:
    with services.store.reading() as connection:
        return delivery_log.position(connection, history=history)


async def _told(services: Services, request: Request, asked: Follow, after: str) -> AsyncIterator[str]:
    _Open.number += 1
    try:
        # Where it begins, so that a line that breaks before the first news is taken up there.
        yield f"retry: 1000\nid: {after}\n: following\n\n"
        heard = time.monotonic()
        while not services.stopping():
            quiet = time.monotonic() - heard > QUIET_SECONDS
            news, behind = await _look(services, request, asked, after, quiet)
            if news:
                yield "".join(_event(place, item) for place, item in news)
                heard = time.monotonic()
            elif quiet:
                yield f"id: {behind}\n: quiet\n\n"
                heard = time.monotonic()
            if len(news) < PART and not (after.startswith("h") and behind != after):
                await asyncio.sleep(LOOK_SECONDS)
            after = behind
    except NotAllowed:
        # Their token was revoked or has run out meanwhile: who comes back with it hears so.
        return
    finally:
        _Open.number -= 1


async def _look(
    services: Services, request: Request, asked: Follow, after: str, quiet: bool
) -> tuple[list[tuple[str, DeliveryItem]], str]:
    try:
        return await run_sync(_changes, services, request, asked, after, quiet)
    except Unreachable:
        # The database will be back; the client's patience is its own affair.
        await asyncio.sleep(1)
        return [], after


def _changes(
    services: Services, request: Request, asked: Follow, after: str, quiet: bool
) -> tuple[list[tuple[str, DeliveryItem]], str]:
    """What is new; whoever is told anything, also that it is quiet, must still be allowed to hear it."""
    with services.store.reading() as connection:
        news, behind = delivery_log.changes(connection, asked.where(), after, PART)
    if news or quiet:
        ALLOWED(request)
    return news, behind


def _event(place: str, item: DeliveryItem) -> str:
    return f"id: {place}\nevent: delivery\ndata: {json.dumps(as_json(item))}\n\n"
