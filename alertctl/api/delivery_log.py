"""The delivery log: pages of it, one delivery's whole story, and sending once more."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from alertctl import deliveries, outbox
from alertctl.api.access import Admin
from alertctl.api.problems import declared
from alertctl.api.services import BASE, Here
from alertctl.errors import Conflict
from alertctl.events import BY_NAME, did_you_mean
from alertctl.models import Status
from alertctl.routing import CHANNELS
from alertctl.schemas import DeliveryDetail, DeliveryItem, LogFilter, Page

router = APIRouter(prefix=f"{BASE}/delivery-log", tags=["delivery log"])

PLAIN = r"[^\x00-\x1f\x7f]*"


def _one_of(*names: str) -> Any:
    """One of the names; an empty text is no filter, as in `?status=&page=2`."""

    def check(text: str) -> str | None:
        if text and text not in names:
            raise ValueError(f"should be one of {', '.join(names)}{did_you_mean(text, names)}")
        return text or None

    schema = {"type": "string", "enum": ["", *names]}
    return Annotated[str | None, BeforeValidator(check), WithJsonSchema(schema)]


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        # A plus sign that nobody encoded arrives as a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+").upper())
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("should be a time like 2026-03-02T14:32:00Z (without a zone: UTC)") from None


def _plain(text: str) -> str | None:
    if not re.fullmatch(PLAIN, text):
        raise ValueError("should have no control characters")
    return text or None


Word = Annotated[str | None, BeforeValidator(_plain), WithJsonSchema({"type": "string", "pattern": f"^{PLAIN}$"})]
Moment = Annotated[
    datetime | None,
    BeforeValidator(_moment),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}),
]
Cursor = Annotated[
    str,
    AfterValidator(lambda text: text and deliveries.the_cursor(text)),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f-]{0,36}$"}),
]


class Search(BaseModel):
    """Which deliveries; all conditions must hold, an empty one is none. `cursor` is a page's `next_cursor` and wins
    over `page`: it costs the same at any depth."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1)
    limit: int = Field(20, ge=1, le=100)
    cursor: Cursor = ""
    event_type: _one_of(*BY_NAME) = None  # type: ignore[valid-type]
    status: _one_of(*Status) = None  # type: ignore[valid-type]
    channel: _one_of(*CHANNELS) = None  # type: ignore[valid-type]
    to: Word = Field(None, description="the address, in any case")
    error: Word = Field(None, description="the provider's own code")
    event_id: Word = Field(None, description="the whole id of an event")
    since: Moment = Field(None, description="from this time on")
    until: Moment = Field(None, description="before this time")


@router.get("")
def search(_caller: Admin, here: Here, asked: Annotated[Search, Query()]) -> Page:
    """A page of the log, newest first."""
    where = LogFilter(**asked.model_dump(exclude={"page", "limit", "cursor"}))
    with here.store.reading() as connection:
        return deliveries.page(connection, where, limit=asked.limit, page=asked.page, cursor=asked.cursor or None)


Id = Annotated[str, Path(description="a delivery's id, or any part of it that is unique", min_length=1)]


@router.get("/{id}", responses=declared(404))
def show(_caller: Admin, here: Here, id: Id) -> DeliveryDetail:  # noqa: A002
    """One delivery: its event, why this target got it, every attempt, the event's other deliveries."""
    with here.store.reading() as connection:
        return deliveries.detail(connection, id)


@router.post("/{id}/retry", responses=declared(404, 409))
def retry(caller: Admin, here: Here, id: Id, again: bool = False) -> DeliveryItem:  # noqa: A002
    """Make a delivery due at once. One that has arrived is sent again only with `again=true`: else 409."""

    def work(connection: Any) -> DeliveryItem:
        whole = deliveries.find_id(connection, id)
        done = outbox.resend(
            connection, [whole], caller.email, here.clock(), again=again, enabled=here.audience.enabled
        )[0]
        if done.why_not is not None:
            more = ": ?again=true sends it once more" if "arrived" in done.why_not else ""
            raise Conflict(f"{done.why_not}{more}")
        return deliveries.detail(connection, whole)

    item: DeliveryItem = here.writer.write(work)
    here.wake()
    return item
