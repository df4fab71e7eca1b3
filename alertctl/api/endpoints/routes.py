"""Routes of the configuration: list them, and test which targets an event would have."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from alertctl.addresses import email_key
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.endpoints.events import parse_publish_request
from alertctl.api.errors import problem_responses
from alertctl.api.request_body import Body, body_schema
from alertctl.channels import CHANNEL_NAMES
from alertctl.errors import InvalidEvent, NotAllowed
from alertctl.events import BY_NAME
from alertctl.route_test import list_routes, run_route_test
from alertctl.schemas import RouteList, RouteTestResult
from alertctl.users import Role

router = APIRouter(prefix=BASE, tags=["routes"])
ADMINS_ONLY = "users' preferences are not considered: only admins see those of others; name yourself as the user"


class RouteTestRequest(BaseModel):
    """An event as in POST /events, whose fields may be missing. `user` limits preferences to those of a user."""

    model_config = ConfigDict(extra="allow")

    event_type: Literal[*BY_NAME]  # type: ignore[valid-type]
    labels: dict[str, Any] | None = None
    to: list[str] | None = None
    channel: Literal[*CHANNEL_NAMES] | None = None  # type: ignore[valid-type]
    user: str | None = Field(None, description="id or email")


@router.get("/routes")
def list_all(_caller: Developer, services: ServicesDep) -> RouteList:
    """Return the routes in their order, and the default targets."""
    return list_routes(services.rules)


@router.post("/routes/test", responses=problem_responses(404), openapi_extra=body_schema(RouteTestRequest))
def test(caller: Developer, services: ServicesDep, body: Body) -> RouteTestResult:
    """Return the targets that an event would have, with each route's verdict. Nothing is recorded or sent.

    The preferences of others count for admins only.
    """
    user = body.pop("user", None)
    if user is not None and not isinstance(user, str):
        raise InvalidEvent("user", "should be a user's id or email")
    request = parse_publish_request(body)
    if caller.role is not Role.ADMIN:
        if user is None:
            return run_route_test(request, services.rules, None, notes=[ADMINS_ONLY])
        if email_key(user.strip()) not in (caller.user_id, caller.email):
            raise NotAllowed("only admins see the preferences of others; name yourself as the user", authenticated=True)
    with services.store.reading() as connection:
        return run_route_test(request, services.rules, connection, user)
