"""Routes of the delivery log: search, detail, stats, resend and prune."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from sqlalchemy import Connection

from alertctl import delivery_log, outbox
from alertctl.api.audit import log_change
from alertctl.api.auth import Admin
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.api.errors import problem_responses
from alertctl.api.request_body import Body, StrictBody, body_schema, parse_body
from alertctl.channels import CHANNEL_NAMES, build_all
from alertctl.config.validators import plain_number
from alertctl.errors import Conflict
from alertctl.events import BY_NAME
from alertctl.events.wording import Wording
from alertctl.labels import NAME, parse_label_filter
from alertctl.models import Status
from alertctl.schemas import DeliveryDetail, DeliveryItem, LogFilter, Page, Pruned, Rendered, ResendResult, Stats
from alertctl.serialization import utc_time
from alertctl.suggestions import did_you_mean
from alertctl.text import counted
from alertctl.users import Caller

router = APIRouter(prefix=f"{BASE}/delivery-log", tags=["delivery log"])
MAX_IDS = 1000
TEXT_PATTERN = r"[^\x00-\x1f\x7f]*"


def _one_of(*names: str) -> Any:
    """Return the type of a parameter with these values. Empty text means no filter, as in `?status=&page=2`."""

    def check(text: str) -> str | None:
        if text and text not in names:
            raise ValueError(f"should be one of {', '.join(names)}{did_you_mean(text, names)}")
        return text or None

    return Annotated[str | None, BeforeValidator(check), WithJsonSchema({"type": "string", "enum": ["", *names]})]


def _parse_time(text: str) -> datetime | None:
    # An unencoded plus sign arrives as a space.
    return utc_time(text.strip().replace(" ", "+").upper()) if text else None


def _parse_text(text: str) -> str | None:
    if not re.fullmatch(TEXT_PATTERN, text):
        raise ValueError("should have no control characters")
    return text or None


TextParameter = Annotated[
    str | None, BeforeValidator(_parse_text), WithJsonSchema({"type": "string", "pattern": f"^{TEXT_PATTERN}$"})
]
TimeParameter = Annotated[
    datetime | None,
    BeforeValidator(_parse_time),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}),
]


LabelParameter = Annotated[
    list[str],
    # Empty text means no filter.
    AfterValidator(lambda texts: parse_label_filter(filter(None, texts))),
    WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": f"^({NAME}=.*)?$"}}),
]


class Filters(BaseModel):
    """Filters of deliveries; all must match."""

    model_config = ConfigDict(extra="forbid")

    event_type: _one_of(*BY_NAME) = None  # type: ignore[valid-type]
    status: _one_of(*Status) = None  # type: ignore[valid-type]
    channel: _one_of(*CHANNEL_NAMES) = None  # type: ignore[valid-type]
    to: TextParameter = Field(None, description="address, case-insensitive")
    error: TextParameter = Field(None, description="error code, usually the provider's")
    event_id: TextParameter = Field(None, description="complete event id")
    since: TimeParameter = Field(None, description="created at or after this time")
    until: TimeParameter = Field(None, description="created before this time")
    user: TextParameter = Field(None, description="id or email of the user whose preference chose the target")
    flag: TextParameter = Field(None, description="the event's feature flag")
    experiment: TextParameter = Field(None, description="the event's experiment")
    label: LabelParameter = Field([], description="NAME=VALUE: a label of the event; several may be given")
    grep: TextParameter = Field(
        None, description="text in the event, address, error or provider's answer; slow on a large log"
    )
    retrying: bool = Field(False, description="only failed deliveries that will be retried")
    final: bool = Field(False, description="only deliveries in a final state")

    def where(self) -> LogFilter:
        values = {name: getattr(self, name) for name in Filters.model_fields}
        return LogFilter(labels=dict(values.pop("label")), **values)


Cursor = Annotated[
    str,
    AfterValidator(lambda text: text and delivery_log.parse_cursor(text)),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f-]{0,36}$"}),
]


class Search(Filters):
    """Filters of deliveries; all must match, an empty one is ignored. `cursor` is a page's `next_cursor` and wins
    over `page`: it costs the same at any depth. `count=false`: `total` may be null."""

    page: int = Field(1, ge=1)
    limit: int = Field(20, ge=1, le=100)
    cursor: Cursor = ""
    count: bool = True


class Counting(Filters):
    """Filters of the counted deliveries, and the field to group by."""

    by: Literal["event", "channel", "to", "error"] = "event"


class Resends(StrictBody):
    """Deliveries by id or a unique part of it. `again`: resend delivered ones too."""

    ids: list[str] = Field(max_length=MAX_IDS)
    again: bool = False


class Resent(BaseModel):
    """The result for each delivery, in the request's order."""

    items: list[ResendResult]


class Prunes(StrictBody):
    """`older_than_days`: delete final deliveries older than that; null: the daemon's settings apply."""

    older_than_days: float | None = Field(None, ge=0, le=36500)
    dry_run: bool = False


@router.get("")
def search(_caller: Admin, services: ServicesDep, query: Annotated[Search, Query()]) -> Page:
    """Return a page of the delivery log, newest first."""
    options = query.model_dump(include={"limit", "page", "cursor", "count"})
    return services.store.read(delivery_log.page, query.where(), **options)


@router.get("/stats")
def stats(_caller: Admin, services: ServicesDep, query: Annotated[Counting, Query()]) -> Stats:
    """Count deliveries by status. Reads all matching deliveries; set `since` on a large log."""
    return services.store.read(delivery_log.stats, query.where(), query.by)


@router.post("/retry", responses=problem_responses(404), openapi_extra=body_schema(Resends))
def retry_all(caller: Admin, services: ServicesDep, body: Body) -> Resent:
    """Make deliveries due now. One that cannot be resent is unchanged; its result has the reason."""
    request = parse_body(Resends, body)
    results = services.writer.write(_resend, services, caller, request.ids, again=request.again)
    services.wake()
    resent = sum(result.problem is None for result in results)
    log_change(caller.name, f"resent {resent} of {len(results)} deliveries: {', '.join(request.ids)[:200]}")
    return Resent(items=results)


def _resend(
    connection: Connection, services: Services, caller: Caller, parts: list[str], *, again: bool
) -> list[ResendResult]:
    delivery_ids = [delivery_log.find_id(connection, part) for part in parts]
    return outbox.resend(connection, delivery_ids, caller.name, services.clock(), again=again, rules=services.rules)


@router.post("/prune", openapi_extra=body_schema(Prunes))
def prune(caller: Admin, services: ServicesDep, body: Body) -> Pruned:
    """Delete old deliveries in a final state, in small batches that do not block other writers."""
    request = parse_body(Prunes, body)
    older_than = None if request.older_than_days is None else timedelta(days=request.older_than_days)
    pruned = outbox.prune_by(
        services.writer, outbox.ages(services.settings, older_than), services.clock(), dry_run=request.dry_run
    )
    if not request.dry_run:
        days = request.older_than_days
        criterion = "by the PRUNE_ settings" if days is None else f"older_than_days={plain_number(days)}"
        log_change(caller.name, f"pruned {counted(pruned.deliveries, 'delivery')}: {criterion}")
    return pruned


Id = Annotated[str, Path(description="a delivery's id, or a unique part of it", min_length=1)]


@router.get("/{id}", responses=problem_responses(404))
def show(_caller: Admin, services: ServicesDep, id: Id) -> DeliveryDetail:  # noqa: A002
    """Return a delivery with its event, routing reason, attempts and the event's other deliveries."""
    return services.store.read(delivery_log.detail, id, Wording.of(services.settings.messages))


@router.get("/{id}/rendered", responses=problem_responses(404))
def rendered(_caller: Admin, services: ServicesDep, id: Id) -> Rendered:  # noqa: A002
    """Return the rendered message: Slack's payload, or an email's parts."""
    channels: dict[str, Any] = build_all(services.settings)
    return services.store.read(delivery_log.rendered, channels, id, Wording.of(services.settings.messages))


@router.post("/{id}/retry", responses=problem_responses(404, 409))
def retry(caller: Admin, services: ServicesDep, id: Id, again: bool = False) -> DeliveryItem:  # noqa: A002
    """Make a delivery due now. A delivered one requires `again=true`, else 409."""

    def resend(connection: Connection) -> DeliveryItem:
        (result,) = _resend(connection, services, caller, [id], again=again)
        if result.problem is not None:
            hint = "; resend it with ?again=true" if "arrived" in result.problem else ""
            raise Conflict(f"{result.problem}{hint}")
        return delivery_log.detail(connection, result.id, Wording.of(services.settings.messages))

    item = services.writer.write(resend)
    services.wake()
    log_change(caller.name, f"resent the delivery {item.id}")
    return item
