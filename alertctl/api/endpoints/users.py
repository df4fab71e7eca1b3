"""Routes of users, and of the caller itself (/me)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from alertctl import users
from alertctl.api.audit import log_change
from alertctl.api.auth import Admin, Viewer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.errors import problem_responses
from alertctl.api.request_body import Body, StrictBody, body_schema, parse_body
from alertctl.schemas import UserItem
from alertctl.users import Role

router = APIRouter(prefix=BASE, tags=["users"])
MAX_PAGE_SIZE = 1000


class Me(BaseModel):
    """The caller. `role` is the token's role. `email` is null for a JWT user whose address belongs to another user."""

    id: str
    email: str | None
    role: str


class Listing(BaseModel):
    """Page of a list. `cursor` is the previous page's `next_cursor`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str = Field("", max_length=254)
    limit: int = Field(100, ge=1, le=MAX_PAGE_SIZE)


class Users(BaseModel):
    """A page of users, by email, or by id for users without one. `next_cursor` is null on the last page."""

    items: list[UserItem]
    next_cursor: str | None


class NewUser(StrictBody):
    """A user to add; the default role is viewer."""

    email: str = Field(max_length=254)
    role: str = Field(Role.VIEWER.value, json_schema_extra={"enum": [*Role]})


class UserChanges(StrictBody):
    """The fields to change; missing fields are unchanged."""

    email: str | None = Field(None, max_length=254)
    role: str | None = Field(None, json_schema_extra={"enum": [*Role, None]})
    disabled: bool | None = None


User = Annotated[str, Path(description="a user's id or email", min_length=1)]


@router.get("/me")
def me(caller: Viewer) -> Me:
    """Return the token's user and role."""
    return Me(id=caller.user_id, email=caller.email, role=caller.role.value)


@router.get("/admin/users")
def list_all(_caller: Admin, services: ServicesDep, query: Annotated[Listing, Query()]) -> Users:
    """List users by email, or by id for users without one."""
    items = services.store.read(users.list_users, after=query.cursor, limit=query.limit + 1)
    next_cursor = items[query.limit - 1].name if len(items) > query.limit else None
    return Users(items=items[: query.limit], next_cursor=next_cursor)


@router.post("/admin/users", status_code=201, openapi_extra=body_schema(NewUser))
def add(caller: Admin, services: ServicesDep, body: Body) -> UserItem:
    """Add a user with the default notification preferences.

    422 if another user has the email, or the recipient policy does not allow it.
    """
    request = parse_body(NewUser, body)
    policy = services.rules.policy
    user = services.writer.write(users.add_user, request.email, request.role, services.clock(), policy)
    log_change(caller.name, f"added the {user.role} {user.name}")
    return user


@router.patch("/admin/users/{user}", responses=problem_responses(404), openapi_extra=body_schema(UserChanges))
def change(caller: Admin, services: ServicesDep, user: User, body: Body) -> UserItem:
    """Change a user's email or role, or disable or enable the user."""
    changes = parse_body(UserChanges, body).model_dump()
    item = services.writer.write(users.change_user, user, **changes, policy=services.rules.policy)
    values = ", ".join(f"{name}={value}" for name, value in changes.items() if value is not None)
    log_change(caller.name, f"changed the user {item.name}: {values or 'nothing'}")
    return item


@router.delete("/admin/users/{user}", responses=problem_responses(404))
def remove(caller: Admin, services: ServicesDep, user: User) -> UserItem:
    """Delete a user, including preferences and tokens; the delivery log is kept. 422 for the last admin.

    A JWT registers its user again; to block a user, disable them.
    """
    item = services.writer.write(users.remove_user, user)
    log_change(caller.name, f"removed the {item.role} {item.name}")
    return item


@router.delete("/admin/users/{user}/identity", responses=problem_responses(404))
def unlink(caller: Admin, services: ServicesDep, user: User) -> UserItem:
    """Remove a user's identity (issuer and subject). A later JWT with it registers a new user, or links it again."""
    item = services.writer.write(users.unlink_user, user)
    log_change(caller.name, f"removed the JWT identity of {item.name}")
    return item
