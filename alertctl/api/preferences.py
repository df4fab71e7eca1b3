"""What a user wants to be told, and where: their own, and for admins everybody's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, create_model

from alertctl import preferences
from alertctl.api.access import Admin, Anybody
from alertctl.api.bodies import json_object
from alertctl.api.services import BASE, Here
from alertctl.schemas import Prefs

router = APIRouter(prefix=BASE, tags=["preferences"])

# What any channel looks like, letters of all scripts included; `routing.check_address` says more.
_SLACK = {"pattern": r"^#?[^\s#@,:;]{1,80}$", "examples": ["#my-alerts", "C0123456789"]}
_EMAIL = {"format": "email", "maxLength": 254}


def _address(**more: Any) -> Any:
    return (str | None, Field(None, json_schema_extra={"anyOf": [{"type": "string", **more}, {"type": "null"}]}))


_SHOWN: dict[str, Any] = {"user_id": (str, ...), **dict.fromkeys(preferences.FLAGS, (bool, ...))}
_SHOWN |= dict.fromkeys(preferences.ADDRESSES, (str | None, ...))
_SET: dict[str, Any] = {name: (bool, Field(None)) for name in preferences.FLAGS}
_SET |= {"slack_channel": _address(**_SLACK), "email_address": _address(**_EMAIL)}
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
def read(caller: Anybody, here: Here) -> Prefs:
    """My preferences; the first call creates the defaults."""
    with here.store.reading() as connection:
        found = preferences.find(connection, caller.user_id)
    return found or here.writer.write(lambda it: preferences.get(it, caller.user_id, here.clock()))


@router.put("/preferences", response_model=Preferences, openapi_extra=BODY)
def change(caller: Anybody, here: Here, body: Annotated[dict[str, Any], Depends(json_object)]) -> Prefs:
    """Change what the body names and leave the rest; null for a channel or an address is the default again."""
    preferences.check(body)
    return here.writer.write(lambda it: preferences.update(it, caller.user_id, body, here.clock()))


@router.get("/admin/preferences")
def everybodys(_caller: Admin, here: Here, asked: Annotated[Pages, Query()]) -> EverybodysPreferences:
    """All users' preferences."""
    with here.store.reading() as connection:
        items, total = preferences.everyone(connection, asked.page, asked.limit)
    return EverybodysPreferences(items=items, total=total, page=asked.page, limit=asked.limit)
