"""GET /delivery-log/stream: follow the delivery log over Server-Sent Events."""

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
from starlette.types import Receive, Scope, Send

from alertctl import delivery_log
from alertctl.api.auth import Admin, RequireRole
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.api.endpoints.delivery_log import Filters, TextParameter
from alertctl.api.errors import RETRY_SECONDS
from alertctl.delivery_log.follow import Changes
from alertctl.errors import NotAllowed, Unreachable
from alertctl.schemas import as_json
from alertctl.users import Role

router = APIRouter(prefix=f"{BASE}/delivery-log", tags=["delivery log"])
POLL_SECONDS = 0.25
KEEPALIVE_SECONDS = 5.0
"""Seconds without a change after which a comment is sent: proxies drop a silent connection after 30 s or more."""
MAX_STREAMS = 50
"""Streams that may be open: each queries the database several times a second."""
BATCH = 500
check_admin = RequireRole(Role.ADMIN)


class Follow(Filters):
    """Filters of the stream. `after` is the id of the last received event; Last-Event-ID takes precedence."""

    after: TextParameter = Field(None, description="continue after this event id of an earlier stream")


class _OpenStreams:
    """How many streams are open."""

    number = 0


class _CountedStream(StreamingResponse):
    """A stream that ends to count when its connection does, even if it never began."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            _OpenStreams.number -= 1


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-Sent Events: `event: delivery`, `data:` a delivery as JSON, `id:` its position",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def stream(
    _caller: Admin,
    services: ServicesDep,
    request: Request,
    query: Annotated[Follow, Query()],
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Stream new and changed deliveries, each state once. `since` sends existing deliveries first.

    Deliveries in flight are skipped until they have a result. A client that reconnects with the id of the last
    event that it received misses nothing.
    """
    _OpenStreams.number += 1
    try:
        if _OpenStreams.number > MAX_STREAMS:
            full = f"{MAX_STREAMS} streams are already open; close one, or try again later"
            raise HTTPException(503, full, {"Retry-After": str(RETRY_SECONDS)})
        after = last_event_id or query.after
        if after:
            delivery_log.parse_position(after)
        else:
            after = await run_sync(start_position, services, query.since is not None)
    except BaseException:
        _OpenStreams.number -= 1
        raise
    return _CountedStream(_event_stream(services, request, query, after))


def start_position(services: Services, history: bool = False) -> str:
    """Return the position of the delivery log's newest change, or with `history` of its beginning."""
    return services.store.read(delivery_log.position, history=history)


async def _event_stream(services: Services, request: Request, query: Follow, after: str) -> AsyncIterator[str]:
    try:
        # Send the start position, so that a client whose stream breaks before the first event resumes there.
        yield f"retry: 1000\nid: {after}\n: following\n\n"
        sent_at = time.monotonic()
        while not services.stopping():
            is_idle = time.monotonic() - sent_at > KEEPALIVE_SECONDS
            try:
                changes, position = await run_sync(_read_changes, services, request, query, after, is_idle)
            except Unreachable:
                # Keep the stream open until the database is back; the client decides how long it waits.
                await asyncio.sleep(1)
                changes, position = [], after
            if changes:
                yield "".join(
                    f"id: {item_position}\nevent: delivery\ndata: {json.dumps(as_json(item))}\n\n"
                    for item_position, item in changes
                )
                sent_at = time.monotonic()
            elif is_idle:
                yield f"id: {position}\n: quiet\n\n"
                sent_at = time.monotonic()
            if len(changes) < BATCH and not (after.startswith("h") and position != after):
                await asyncio.sleep(POLL_SECONDS)
            after = position
    except NotAllowed:
        # The token was revoked or has expired: end the stream; a new request with it is refused.
        return


def _read_changes(services: Services, request: Request, query: Follow, after: str, is_idle: bool) -> Changes:
    """Return what has changed and the new position. Checks the token again before anything is sent."""
    changes, position = services.store.read(delivery_log.changes, query.where(), after, BATCH)
    if changes or is_idle:
        check_admin(request)
    return changes, position
