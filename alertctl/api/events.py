"""Publishing: recorded and committed, then answered; no provider is called. And the types that there are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter
from sqlalchemy import Connection

from alertctl import deliveries, users
from alertctl.api.access import Anybody, DeveloperCached
from alertctl.api.bodies import json_object
from alertctl.api.problems import declared
from alertctl.api.services import BASE, Services
from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed
from alertctl.events import BY_NAME, EVENT_TYPES
from alertctl.models import Status
from alertctl.publish import Publication, Published, prepare, publish
from alertctl.routing import Audience
from alertctl.schemas import DeliveryItem, EventReceipt, EventTypeInfo
from alertctl.users import Caller, Role

router = APIRouter(prefix=BASE, tags=["events"])
MOST_TARGETS = 1000
BESIDES = ("event_type", "to", "channel", "dedup_window", "expires_at", "said_at")
"""What a body holds beside the event's own fields."""
KEY = r"[!-~]([ -~]{0,253}[!-~])?"
"""An Idempotency-Key: ASCII, as all headers."""
REPLAYED = "Idempotent-Replayed"
"""Header of an answer that repeats an earlier one (`true`): its key was used before and nothing was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What was recorded, and stays so: the event, and its deliveries as they were born (`pending` or `suppressed`)."""

    event_id: str
    event_type: str
    deliveries: list[DeliveryItem]
    warnings: list[str]


_ACCEPTED = TypeAdapter(Accepted)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that publishes: its event, who calls, and when."""

    publication: Publication
    caller: Caller
    now: datetime


@router.get("/events")
def event_types(_caller: Anybody) -> list[EventTypeInfo]:
    """The event types, with the JSON Schemas of their fields."""
    return [
        EventTypeInfo(
            event_type=kind.event_type,
            description=kind.description,
            channels=list(kind.channels),
            wanted_by_default=kind.wanted_by_default,
            json_schema=kind.model_json_schema(),
        )
        for kind in EVENT_TYPES
    ]


@router.post(
    "/events",
    status_code=202,
    response_model=Accepted,
    responses=declared(409),
    openapi_extra={"x-publishes": True},
)
async def accept(caller: DeveloperCached, request: Request) -> Response:
    """Record an event and its deliveries; answers when they are committed, before any provider is called.

    The same Idempotency-Key header (or `dedup_key` field) gets the same answer again and sends nothing more.
    """
    # No further dependencies and no model to validate: each costs the busiest route 10 us of CPU.
    here: Services = request.app.state.services
    publication = requested(await json_object(request), request.headers.get("idempotency-key"), here.audience, caller)
    receipt = await _recorded(here, Call(publication, caller, here.clock()))
    here.accepted(receipt)
    if receipt.created:
        here.wake(receipt)
    headers = {} if receipt.created else {REPLAYED: "true"}
    body = Accepted(
        event_id=receipt.event_id,
        event_type=receipt.event_type,
        deliveries=receipt.deliveries,
        warnings=receipt.warnings,
    )
    return Response(_ACCEPTED.dump_json(body), 202, headers, "application/json")


async def _recorded(here: Services, call: Call) -> EventReceipt:
    answer: EventReceipt | AlertctlError = await here.writer.submit_soon(record, call)
    if isinstance(answer, AlertctlError):
        raise answer
    return answer


def record(connection: Connection, calls: Sequence[Call]) -> list[EventReceipt | AlertctlError]:
    """Write many calls' events in one transaction; one answer for each, in order.

    Each caller's token is checked once more in the same transaction, so a revoked one stops at once.
    """
    now = calls[0].now
    allowed = users.still_allowed(connection, (call.caller for call in calls), Role.DEVELOPER, now)
    passed = [call for call in calls if call.caller in allowed]
    published = publish(connection, [call.publication for call in passed], now) if passed else []
    repeated = [one.event_id for one in published if isinstance(one, Published) and not one.created]
    earlier = deliveries.items_of(connection, repeated) if repeated else {}
    answers = iter(
        one if isinstance(one, Conflict) else _receipt(call, one, earlier.get(one.event_id, []))
        for call, one in zip(passed, published, strict=True)
    )
    return [next(answers) if call.caller in allowed else _stopped() for call in calls]


def _stopped() -> NotAllowed:
    return NotAllowed("the token was revoked, or its user disabled or given a lower role, a moment ago")


def _receipt(call: Call, published: Published, earlier: Sequence[DeliveryItem]) -> EventReceipt:
    return EventReceipt(
        event_id=published.event_id,
        event_type=published.event_type,
        created=published.created,
        deliveries=published.deliveries if published.created else [as_born(item) for item in earlier],
        warnings=call.publication.warnings(),
    )


def as_born(item: DeliveryItem) -> DeliveryItem:
    """A delivery as it was when its event was recorded, so that a repeated call gets the same answer."""
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
    )


def requested(body: Mapping[str, Any], key: str | None, audience: Audience, caller: Caller) -> Publication:
    """The publication that a body asks for. Raises InvalidEvent that names the wrong field."""
    fields = {name: value for name, value in body.items() if name not in BESIDES}
    event_type, to, channel = body.get("event_type"), body.get("to"), body.get("channel")
    if not isinstance(event_type, str):
        raise InvalidEvent("event_type", f"should be one of {', '.join(BY_NAME)}")
    if channel is not None and not isinstance(channel, str):
        raise InvalidEvent("channel", "should be slack or email")
    if key is not None and not re.fullmatch(KEY, key):
        raise InvalidEvent("Idempotency-Key", "should be 1 to 255 printable ASCII characters")
    return prepare(
        event_type,
        fields,
        audience,
        to=_targets(to),
        channel=channel,
        idempotency_key=key,
        published_by=caller.name,
        dedup_window=_seconds("dedup_window", body.get("dedup_window")),
        expires_at=_moment("expires_at", body.get("expires_at")),
        said_at=_moment("said_at", body.get("said_at")),
    )


def _seconds(field: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent(field, "should be a number of seconds")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _moment(field: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise InvalidEvent(field, "should be a time like 2026-03-02T14:32:00Z (without a zone: UTC)") from None


def _targets(to: Any) -> list[str]:
    if to is None:
        return []
    if not isinstance(to, list) or not all(isinstance(one, str) for one in to):
        raise InvalidEvent("to", 'should be a list of targets: ["slack:#channel", "email:somebody@example.com"]')
    if len(to) > MOST_TARGETS:
        raise InvalidEvent("to", f"should be {MOST_TARGETS} targets at most, got {len(to)}")
    return to
