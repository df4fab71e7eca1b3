"""POST /events/preview: what would go to whom, and nothing goes."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.endpoints.events import prepare_body
from alertctl.api.request_body import Body
from alertctl.preview import preview_event
from alertctl.schemas import Rendered

router = APIRouter(prefix=BASE, tags=["events"])


class Previews(BaseModel):
    """One for each target, in the order of routing; `suppressed_reason` is why it would be suppressed."""

    items: list[Rendered]


@router.post("/events/preview", openapi_extra={"x-publishes": True})
def preview(caller: Developer, services: ServicesDep, body: Body, request: Request) -> Previews:
    """What an event would say to whom if it were published now. Nothing is recorded or sent."""
    publication = prepare_body(body, request.headers.get("idempotency-key"), services.audience, caller)
    return Previews(items=preview_event(services.store, services.settings, publication, services.clock()))
