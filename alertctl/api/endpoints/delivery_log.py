"""The delivery log: pages of it, one delivery's whole story, the log in numbers, sending once more, and pruning."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from alertctl import delivery_log, outbox
from alertctl.api.auth import Admin
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.endpoints.log_filters import Filters
from alertctl.api.errors import declared
from alertctl.api.request_body import Body, checked, described
from alertctl.channels import build_all
from alertctl.errors import Conflict
from alertctl.schemas import DeliveryDetail, DeliveryItem, Page, Pruned, Rendered, ResendResult, Stats

router = APIRouter(prefix=f"{BASE}/delivery-log", tags=["delivery log"])
MOST_IDS = 1000

Cursor = Annotated[
    str,
    AfterValidator(lambda text: text and delivery_log.parse_cursor(text)),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f-]{0,36}$"}),
]


class Search(Filters):
    """Which deliveries; all conditions must hold, an empty one is none. `cursor` is a page's `next_cursor` and wins
    over `page`: it costs the same at any depth. `count=false`: `total` may be null."""

    page: int = Field(1, ge=1)
    limit: int = Field(20, ge=1, le=100)
    cursor: Cursor = ""
    count: bool = True


class Counting(Filters):
    """What is counted, and by what."""

    by: Literal["event", "channel", "to", "error"] = "event"


class Resends(BaseModel):
    """Deliveries by their ids, or any unique part of them. `again`: also those that have arrived."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] = Field(max_length=MOST_IDS)
    again: bool = False


class Resent(BaseModel):
    """What became of each, in order."""

    items: list[ResendResult]


class Prunes(BaseModel):
    """`older_than_days`: final deliveries older than that; null: as the daemon's settings say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    older_than_days: float | None = Field(None, ge=0, le=36500)
    dry_run: bool = False


@router.get("")
def search(_caller: Admin, services: ServicesDep, asked: Annotated[Search, Query()]) -> Page:
    """A page of the log, newest first."""
    with services.store.reading() as connection:
        return delivery_log.page(
            connection,
            asked.where(),
            limit=asked.limit,
            page=asked.page,
            cursor=asked.cursor or None,
            count=asked.count,
        )


@router.get("/stats")
def stats(_caller: Admin, services: ServicesDep, asked: Annotated[Counting, Query()]) -> Stats:
    """How many deliveries there are, and how they stand. Reads all that fit: give it a `since`."""
    with services.store.reading() as connection:
        return delivery_log.stats(connection, asked.where(), asked.by)


@router.post("/retry", responses=declared(404), openapi_extra=described(Resends))
def retry_all(caller: Admin, services: ServicesDep, body: Body) -> Resent:
    """Make deliveries due at once. One that can't be sent again is left alone, and says why."""
    asked = checked(Resends, body)

    def work(connection: Any) -> list[outbox.Resent]:
        whole = [delivery_log.find_id(connection, one) for one in asked.ids]
        return outbox.resend(
            connection, whole, caller.name, services.clock(), again=asked.again, enabled=services.audience.enabled
        )

    done: list[outbox.Resent] = services.writer.write(work)
    services.wake()
    return Resent(items=[ResendResult(id=one.delivery_id, why_not=one.why_not) for one in done])


@router.post("/prune", openapi_extra=described(Prunes))
def prune(_caller: Admin, services: ServicesDep, body: Body) -> Pruned:
    """Take old, final deliveries out of the log, in batches that stop nobody."""
    asked = checked(Prunes, body)
    older = None if asked.older_than_days is None else timedelta(days=asked.older_than_days)
    return outbox.prune_by(
        services.writer, outbox.ages(services.settings, older), services.clock(), dry_run=asked.dry_run
    )


Id = Annotated[str, Path(description="a delivery's id, or any part of it that is unique", min_length=1)]


@router.get("/{id}", responses=declared(404))
def show(_caller: Admin, services: ServicesDep, id: Id) -> DeliveryDetail:  # noqa: A002
    """One delivery: its event, why this target got it, every attempt, the event's other deliveries."""
    with services.store.reading() as connection:
        return delivery_log.detail(connection, id)


@router.get("/{id}/rendered", responses=declared(404))
def rendered(_caller: Admin, services: ServicesDep, id: Id) -> Rendered:  # noqa: A002
    """The message as its channel makes it: Slack's payload, or an email's parts."""
    channels: dict[str, Any] = build_all(services.settings)
    with services.store.reading() as connection:
        return delivery_log.rendered(connection, channels, id)


@router.post("/{id}/retry", responses=declared(404, 409))
def retry(caller: Admin, services: ServicesDep, id: Id, again: bool = False) -> DeliveryItem:  # noqa: A002
    """Make a delivery due at once. One that has arrived is sent again only with `again=true`: else 409."""

    def work(connection: Any) -> DeliveryItem:
        whole = delivery_log.find_id(connection, id)
        done = outbox.resend(
            connection, [whole], caller.name, services.clock(), again=again, enabled=services.audience.enabled
        )[0]
        if done.why_not is not None:
            more = ": ?again=true sends it once more" if "arrived" in done.why_not else ""
            raise Conflict(f"{done.why_not}{more}")
        return delivery_log.detail(connection, whole)

    item: DeliveryItem = services.writer.write(work)
    services.wake()
    return item
