"""Routes of access tokens: list, create, revoke."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from alertctl import users
from alertctl.api.audit import log_change
from alertctl.api.auth import Admin
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.endpoints.users import Listing
from alertctl.api.errors import problem_responses
from alertctl.api.request_body import Body, StrictBody, body_schema, parse_body
from alertctl.schemas import TokenItem
from alertctl.users import Role

router = APIRouter(prefix=f"{BASE}/admin/tokens", tags=["tokens"])
_YEAR_SECONDS = 31_536_000.0


class Tokens(BaseModel):
    """A page of tokens, newest first. `next_cursor` is null on the last page."""

    items: list[TokenItem]
    next_cursor: str | None


class NewToken(StrictBody):
    """A token to create, with a role or a scope; a new user gets its role. `expires_in`: seconds, null for no expiry.

    The scope `publish` allows to publish events and to read their state, and nothing else.
    """

    user: str = Field(min_length=1, max_length=254, description="the token's user: an email address or an id")
    role: str | None = Field(None, json_schema_extra={"enum": [*Role, None]})
    scope: str | None = Field(None, json_schema_extra={"enum": [users.PUBLISH, None]})
    expires_in: float | None = Field(None, json_schema_extra={"exclusiveMinimum": 0, "maximum": 100 * _YEAR_SECONDS})


class CreatedToken(BaseModel):
    """A new token. `token` is its secret, shown only once and not stored."""

    token: str
    item: TokenItem


@router.get("")
def list_all(_caller: Admin, services: ServicesDep, query: Annotated[Listing, Query()]) -> Tokens:
    """List tokens without their secrets, newest first."""
    items = services.store.read(users.list_tokens, before=query.cursor, limit=query.limit + 1)
    next_cursor = items[query.limit - 1].id if len(items) > query.limit else None
    return Tokens(items=items[: query.limit], next_cursor=next_cursor)


@router.post("", status_code=201, responses=problem_responses(404), openapi_extra=body_schema(NewToken))
def create(caller: Admin, services: ServicesDep, body: Body) -> CreatedToken:
    """Create a token for a user. Requires an admin, so no token exceeds its creator's role."""
    request = parse_body(NewToken, body)
    lifetime = None
    if request.expires_in is not None:
        # Clamped, so that create_token refuses an extreme value instead of timedelta raising OverflowError.
        lifetime = timedelta(seconds=max(-1.0, min(request.expires_in, 200 * _YEAR_SECONDS)))
    scope, policy = request.scope, services.rules.policy
    item, secret = services.writer.write(
        users.create_token, request.user, request.role, lifetime, services.clock(), scope=scope, policy=policy
    )
    log_change(caller.name, f"created the {item.scope or item.role} token {item.id} of {item.user}")
    return CreatedToken(token=secret, item=item)


Id = Annotated[str, Path(description="a token's complete id", min_length=1)]


@router.delete("/{id}", responses=problem_responses(404))
def revoke(caller: Admin, services: ServicesDep, id: Id) -> TokenItem:  # noqa: A002
    """Revoke a token, effective from the next call. Repeating it changes nothing."""
    item = services.writer.write(users.revoke_token, id, services.clock())
    log_change(caller.name, f"revoked the {item.scope or item.role} token {item.id} of {item.user}")
    return item
