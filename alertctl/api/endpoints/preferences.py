"""Routes of preferences: a user's own, and for admins those of all users."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, create_model

from alertctl import preferences, users
from alertctl.api.audit import log_change
from alertctl.api.auth import Admin, Viewer
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.api.endpoints.users import User
from alertctl.api.errors import problem_responses
from alertctl.api.request_body import Body
from alertctl.channels import channel_type
from alertctl.errors import InvalidEvent
from alertctl.schemas import Prefs

router = APIRouter(prefix=BASE, tags=["preferences"])


def _address(**more: Any) -> Any:
    return (str | None, Field(None, json_schema_extra={"anyOf": [{"type": "string", **more}, {"type": "null"}]}))


_RESPONSE_FIELDS: dict[str, Any] = {"user_id": (str, ...), **dict.fromkeys(preferences.FLAGS, (bool, ...))}
_RESPONSE_FIELDS |= dict.fromkeys(preferences.ADDRESSES, (str | None, ...))
_BODY_FIELDS: dict[str, Any] = {name: (bool, Field(None)) for name in preferences.FLAGS}
_BODY_FIELDS |= {
    name: _address(**channel_type(channel).address_schema) for name, channel in preferences.ADDRESSES.items()
}
_BODY_FIELDS["user_id"] = (str | None, Field(None, description="ignored if it is the user's own id"))
Preferences: Any = create_model("Preferences", **_RESPONSE_FIELDS)
# Only describes the body; `preferences.check` validates it.
Changes: Any = create_model("PreferenceChanges", __config__=ConfigDict(extra="forbid"), **_BODY_FIELDS)
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": Changes.model_json_schema()}}}}


class PreferencesPage(BaseModel):
    """A page of all users' preferences, oldest user first."""

    items: list[Preferences]
    total: int
    page: int
    limit: int


class PageNumber(BaseModel):
    """Page number and size."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1)
    limit: int = Field(20, ge=1, le=100)


@router.get("/preferences", response_model=Preferences)
def read(caller: Viewer, services: ServicesDep) -> Prefs:
    """Return the caller's preferences; the first call creates the defaults."""
    return _read(services, caller.user_id)


@router.put("/preferences", response_model=Preferences, openapi_extra=BODY)
def change(caller: Viewer, services: ServicesDep, body: Body) -> Prefs:
    """Change the fields in the body; null resets a channel or address to the default."""
    return _change(services, caller.user_id, body)


@router.post("/preferences/reset", response_model=Preferences)
def reset(caller: Viewer, services: ServicesDep) -> Prefs:
    """Reset the caller's preferences to the defaults and return them."""
    return services.writer.write(preferences.reset, caller.user_id, services.clock())


@router.get("/admin/preferences")
def list_all(_caller: Admin, services: ServicesDep, query: Annotated[PageNumber, Query()]) -> PreferencesPage:
    """List all users' preferences."""
    items, total = services.store.read(preferences.everyone, query.page, query.limit)
    return PreferencesPage(items=items, total=total, page=query.page, limit=query.limit)


@router.get("/admin/preferences/{user}", response_model=Preferences, responses=problem_responses(404))
def read_of_user(_caller: Admin, services: ServicesDep, user: User) -> Prefs:
    """Return a user's preferences; the first call creates the defaults."""
    return _read(services, _user_id(services, user))


@router.put(
    "/admin/preferences/{user}", response_model=Preferences, responses=problem_responses(404), openapi_extra=BODY
)
def change_of_user(caller: Admin, services: ServicesDep, user: User, body: Body) -> Prefs:
    """Change the fields in the body of a user's preferences."""
    changed = _change(services, _user_id(services, user), body)
    log_change(caller.name, f"changed the preferences of {changed['user_id']}: {', '.join(body)}")
    return changed


@router.post("/admin/preferences/{user}/reset", response_model=Preferences, responses=problem_responses(404))
def reset_of_user(caller: Admin, services: ServicesDep, user: User) -> Prefs:
    """Reset a user's preferences to the defaults and return them."""
    changed = services.writer.write(preferences.reset, _user_id(services, user), services.clock())
    log_change(caller.name, f"reset the preferences of {changed['user_id']}")
    return changed


def _user_id(services: Services, user: str) -> str:
    return services.store.read(users.find_user, user).id


def _read(services: Services, user_id: str) -> Prefs:
    stored = services.store.read(preferences.find, user_id)
    return stored or services.writer.write(preferences.get, user_id, services.clock())


def _change(services: Services, user_id: str, body: dict[str, Any]) -> Prefs:
    # GET's response is a valid body.
    changes = {name: value for name, value in body.items() if name != "user_id"}
    if body.get("user_id") not in (None, user_id):
        raise InvalidEvent("user_id", "is another user's id; leave it out, or use /admin/preferences/{user}")
    policy = services.rules.policy
    preferences.check(changes, policy)
    return services.writer.write(preferences.update, user_id, changes, services.clock(), policy)
