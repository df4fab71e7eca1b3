"""Routes of events: publish, preview, list the event types, follow an event's deliveries."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from alertctl import delivery_log, users
from alertctl.addresses import masked
from alertctl.api.auth import Developer, Publisher, Viewer, cached_publisher, require_publisher
from alertctl.api.deps import BASE, Services, ServicesDep, Wait
from alertctl.api.errors import problem_responses
from alertctl.api.request_body import Body, read_json
from alertctl.channels import CHANNEL_NAMES, TARGET_EXAMPLES
from alertctl.delivery_log.tables import delivery
from alertctl.errors import AlertctlError, InvalidEvent, NotAllowed, NotFound
from alertctl.events import BY_NAME, EVENT_TYPES
from alertctl.models import Status
from alertctl.preview import preview_event
from alertctl.publish import Publication, event, explain_no_targets, prepare, publish_many
from alertctl.routing import decide
from alertctl.schemas import (
    BODY_OPTIONS,
    DeliveryItem,
    EventReceipt,
    EventState,
    EventTypeInfo,
    Previews,
    PublishRequest,
    parse_moment,
    with_current_names,
)
from alertctl.users import Caller, Role

router = APIRouter(prefix=BASE, tags=["events"])
IDEMPOTENCY_KEY = r"[!-~]([ -~]{0,253}[!-~])?"
"""Pattern of an Idempotency-Key: ASCII, like all headers."""
FIRST_POLL, MAX_POLL = 0.02, 0.5
"""Seconds between two queries: short at first, then increasing."""
IN_PROGRESS = (Status.PENDING, Status.SENDING)
REPLAYED_HEADER = "Idempotent-Replayed"
"""Header that is `true` in a response whose key was used before: nothing was recorded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The recorded event and its deliveries, each with its initial status (`pending` or `suppressed`)."""

    event_id: str
    event_type: str
    deliveries: list[DeliveryItem]
    warnings: list[str]


_ACCEPTED_ADAPTER = TypeAdapter(Accepted)


@router.get("/events")
def event_types(_caller: Viewer) -> list[EventTypeInfo]:
    """List the event types with the JSON Schemas of their fields."""
    return [EventTypeInfo.of(kind, CHANNEL_NAMES) for kind in EVENT_TYPES]


@router.post(
    "/events",
    status_code=202,
    response_model=Accepted,
    responses=problem_responses(409, 429),
    openapi_extra={"x-publishes": True, "x-role": require_publisher.role},
)
async def accept(request: Request) -> Response:
    """Record an event and its deliveries. Returns after the commit, before any provider is called.

    The same Idempotency-Key header (or `dedup_key` field) gets the same response again and sends nothing more.
    """
    # No dependencies and no model to validate: each costs this busiest route 10 us of CPU or more.
    services: Services = request.app.state.services
    caller = await cached_publisher(request)
    request.app.state.token_limit.check(caller)
    publication = await read_json(request, partial(prepare_body, services, caller, request))
    receipt: EventReceipt = await services.writer.submit_soon(record, (publication, caller, services.clock()))
    services.accepted(receipt)
    headers, deliveries = {}, receipt.deliveries
    if receipt.created:
        services.wake(receipt)
    else:
        headers, deliveries = {REPLAYED_HEADER: "true"}, [as_recorded(item) for item in receipt.deliveries]
    if not publication.to and caller.role is not Role.ADMIN:
        # Without routes, the default targets are always among those of `decide`, which costs more.
        shown = set() if services.rules.routes.items else {target.address for target in services.rules.targets}
        if any(item.to not in shown for item in deliveries):
            shown |= {decision.target.address for decision in decide(publication, services.rules, ())}
        deliveries = [item if item.to in shown else _masked(item) for item in deliveries]
    body = Accepted(
        event_id=receipt.event_id, event_type=receipt.event_type, deliveries=deliveries, warnings=receipt.warnings
    )
    return Response(_ACCEPTED_ADAPTER.dump_json(body), 202, headers, "application/json")


@router.post("/events/preview", openapi_extra={"x-publishes": True})
def preview(caller: Developer, services: ServicesDep, body: Body, request: Request) -> Previews:
    """Render an event's messages for its targets. Nothing is recorded or sent."""
    publication = prepare_body(services, caller, request, body)
    mask_users = caller.role is not Role.ADMIN
    items = preview_event(services.store, services.settings, publication, services.clock(), mask_users=mask_users)
    warnings = list(publication.warnings)
    if not items:
        warnings.append(explain_no_targets(publication.request))
    return Previews(items=items, warnings=warnings)


@router.get("/events/{event_id}", responses=problem_responses(404))
async def state(
    caller: Publisher,
    services: ServicesDep,
    event_id: Annotated[str, Path(min_length=1)],
    wait: Wait = 0.0,
    until: Annotated[
        Literal["tried", "final"],
        Query(
            description="state to wait for: `tried` (each delivery attempted once) or `final` (all in a final state)"
        ),
    ] = "final",
) -> EventState:
    """Return an event's deliveries. Waits up to `wait` seconds until they are final, or tried once (`until=tried`)."""
    deadline, pause = time.monotonic() + wait, FIRST_POLL
    while True:
        current = await run_sync(_read_state, services, caller, event_id)
        remaining = deadline - time.monotonic()
        is_tried = all(item.status not in IN_PROGRESS for item in current.deliveries)
        is_reached = current.final if until == "final" else is_tried
        if is_reached or remaining <= 0 or services.stopping():
            return current
        await asyncio.sleep(min(pause, remaining))
        pause = min(pause * 1.5, MAX_POLL)


def record(
    connection: Connection, items: Sequence[tuple[Publication, Caller, datetime]]
) -> list[EventReceipt | AlertctlError]:
    """Write the events that callers published, in one transaction of a Writer.

    The transaction also checks each caller's token again, so a revoked token stops at once.
    """
    now = items[0][2]
    allowed = users.still_allowed(connection, (caller for _, caller, _ in items), Role.DEVELOPER, now)
    publications = [publication for publication, caller, _ in items if caller in allowed]
    outcomes = iter(publish_many(connection, publications, now) if publications else [])
    revoked = "the token was just revoked, or its user was disabled or given a lower role"
    return [next(outcomes) if caller in allowed else NotAllowed(revoked, caller=caller.name) for _, caller, _ in items]


def as_recorded(item: DeliveryItem) -> DeliveryItem:
    """Return a delivery as it was when its event was recorded, so that a repeated call gets the same response."""
    if item.status == Status.SUPPRESSED:
        return item
    return replace(
        item,
        status=Status.PENDING.value,
        error=None,
        reason=None,
        ambiguous=False,
        provider_id=None,
        attempts=0,
        next_attempt_at=item.created_at,
        updated_at=item.created_at,
        latency_ms=None,
        thread_id=None,
    )


def prepare_body(services: Services, caller: Caller, request: Request, body: dict[str, Any]) -> Publication:
    """Return the publication that a request asks for. Raises InvalidEvent that names the wrong field."""
    publish_request = parse_publish_request(body, request.headers.get("idempotency-key"))
    return prepare(publish_request, services.rules, caller.name)


def parse_publish_request(body: dict[str, Any], key: str | None = None) -> PublishRequest:
    """Return the request of a body and an idempotency key. Raises InvalidEvent."""
    body = with_current_names(body)
    event_type, channel = body.get("event_type"), body.get("channel")
    if not isinstance(event_type, str):
        raise InvalidEvent("event_type", f"should be one of {', '.join(BY_NAME)}")
    if channel is not None and not isinstance(channel, str):
        raise InvalidEvent("channel", f"should be {' or '.join(CHANNEL_NAMES)}")
    if key is not None and not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise InvalidEvent("Idempotency-Key", "should be 1 to 255 printable ASCII characters")
    return PublishRequest(
        event_type=event_type,
        fields={name: value for name, value in body.items() if name not in BODY_OPTIONS},
        labels=body.get("labels") or {},
        to=_parse_targets(body.get("to")),
        channel=channel,
        idempotency_key=key,
        dedup_window=_parse_seconds("dedup_window", body.get("dedup_window")),
        expires_at=parse_moment("expires_at", body.get("expires_at")),
        originally_published_at=parse_moment("originally_published_at", body.get("originally_published_at")),
    )


def _parse_seconds(field: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent(field, "should be a number of seconds")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _parse_targets(to: Any) -> list[str]:
    if to is None:
        return []
    if not isinstance(to, list) or not all(isinstance(target, str) for target in to):
        raise InvalidEvent("to", f"should be a list of targets: {json.dumps(TARGET_EXAMPLES)}")
    return to


def _masked(item: DeliveryItem) -> DeliveryItem:
    return replace(item, to=masked(item.to))


def _read_state(services: Services, caller: Caller, event_id: str) -> EventState:
    """Return an event's state, with users' addresses for admins only. Raises NotFound."""
    # Postgres refuses to compare text with NUL, and no id contains it.
    event_id = event_id.replace("\0", "")
    with services.store.reading() as connection:
        items = delivery_log.items_of(connection, [event_id]).get(event_id, [])
        row = connection.execute(select(event.c.event_type, event.c.published_by).where(event.c.id == event_id)).first()
        of_users = select(delivery.c.id).where(delivery.c.event_id == event_id, delivery.c.user_id.is_not(None))
        masked_ids = set() if caller.role is Role.ADMIN else set(connection.execute(of_users).scalars())
    if row is None or (caller.scope and row.published_by != caller.name):
        raise NotFound(f"no event has the id {event_id}")
    items = [_masked(item) if item.id in masked_ids else item for item in items]
    final = all(item.status not in IN_PROGRESS and item.next_attempt_at is None for item in items)
    return EventState(event_id=event_id, event_type=row.event_type, final=final, deliveries=items)
