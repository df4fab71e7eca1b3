"""What a user wants to be told, and where: their own, and for admins everybody's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, create_model

from alertctl import preferences, users
from alertctl.api.auth import Admin, Viewer
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.api.errors import declared
from alertctl.api.request_body import Body
from alertctl.channels import channel_type
from alertctl.schemas import Prefs

router = APIRouter(prefix=BASE, tags=["preferences"])


def _address(**more: Any) -> Any:
    return (str | None, Field(None, json_schema_extra={"anyOf": [{"type": "string", **more}, {"type": "null"}]}))


_SHOWN: dict[str, Any] = {"user_id": (str, ...), **dict.fromkeys(preferences.FLAGS, (bool, ...))}
_SHOWN |= dict.fromkeys(preferences.ADDRESSES, (str | None, ...))
_SET: dict[str, Any] = {name: (bool, Field(None)) for name in preferences.FLAGS}
_SET |= {name: _address(**channel_type(channel).address_schema) for name, channel in preferences.ADDRESSES.items()}
Preferences: Any = create_model("Preferences", **_SHOWN)
# Describes the body; `preferences.check` is what checks it.
Changes: Any = create_model("PreferenceChanges", __config__=ConfigDict(extra="forbid"), **_SET)
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": Changes.model_json_schema()}}}}


class EverybodysPreferences(BaseModel):
    """A page of all users' preferences, the longest registered user first."""

    items: list[Preferences]
    total: int
    page: int
    limit: int


class Pages(BaseModel):
    """Which page, and how long."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1)
    limit: int = Field(20, ge=1, le=100)


@router.get("/preferences", response_model=Preferences)
def read(caller: Viewer, services: ServicesDep) -> Prefs:
    """My preferences; the first call creates the defaults."""
    return _read(services, caller.user_id)


@router.put("/preferences", response_model=Preferences, openapi_extra=BODY)
def change(caller: Viewer, services: ServicesDep, body: Body) -> Prefs:
    """Change what the body names and leave the rest; null for a channel or an address is the default again."""
    return _change(services, caller.user_id, body)


@router.post("/preferences/reset", response_model=Preferences)
def reset(caller: Viewer, services: ServicesDep) -> Prefs:
    """My preferences as they are by default."""
    return _reset(services, caller.user_id)


@router.get("/admin/preferences")
def everybodys(_caller: Admin, services: ServicesDep, asked: Annotated[Pages, Query()]) -> EverybodysPreferences:
    """All users' preferences."""
    with services.store.reading() as connection:
        items, total = preferences.everyone(connection, asked.page, asked.limit)
    return EverybodysPreferences(items=items, total=total, page=asked.page, limit=asked.limit)


User = Annotated[str, Path(description="a user's id or email", min_length=1)]


@router.get("/admin/preferences/{user}", response_model=Preferences, responses=declared(404))
def read_anybodys(_caller: Admin, services: ServicesDep, user: User) -> Prefs:
    """A user's preferences; the first call creates the defaults."""
    return _read(services, _id_of(services, user))


@router.put("/admin/preferences/{user}", response_model=Preferences, responses=declared(404), openapi_extra=BODY)
def change_anybodys(_caller: Admin, services: ServicesDep, user: User, body: Body) -> Prefs:
    """Change what the body names of a user's preferences, and leave the rest."""
    return _change(services, _id_of(services, user), body)


@router.post("/admin/preferences/{user}/reset", response_model=Preferences, responses=declared(404))
def reset_anybodys(_caller: Admin, services: ServicesDep, user: User) -> Prefs:
    """A user's preferences as they are by default."""
    return _reset(services, _id_of(services, user))


def _id_of(services: Services, user: str) -> str:
    with services.store.reading() as connection:
        return users.find_user(connection, user).id


def _read(services: Services, user_id: str) -> Prefs:
    with services.store.reading() as connection:
        found = preferences.find(connection, user_id)
    return found or services.writer.write(lambda it: preferences.get(it, user_id, services.clock()))


def _change(services: Services, user_id: str, body: dict[str, Any]) -> Prefs:
    preferences.check(body)
    return services.writer.write(lambda it: preferences.update(it, user_id, body, services.clock()))


def _reset(services: Services, user_id: str) -> Prefs:
    return services.writer.write(lambda it: preferences.reset(it, user_id, services.clock()))
