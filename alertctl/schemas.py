"""What the API and the command line say to each other. No SQL, no provider."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer


def stamp(moment: datetime) -> str:
    """UTC, to the second, as the public API promises: 2026-03-02T14:32:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Moment = Annotated[datetime, PlainSerializer(stamp, return_type=str, when_used="json")]


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True)


class DeliveryItem(Schema):
    """One row of the delivery log."""

    id: str
    event_type: str
    channel: str
    to: str
    status: str
    error: str | None
    attempts: int
    next_attempt_at: Moment | None
    created_at: Moment
    event_id: str
    reason: str | None = None
    ambiguous: bool = False
    provider_id: str | None = None


class AttemptItem(Schema):
    """One try. No `outcome`: it is under way, or its sender died. `duration_ms` in milliseconds."""

    number: int
    provider: str
    started_at: Moment
    duration_ms: int | None
    outcome: str | None
    reason: str | None
    code: str | None
    answer: str | None
    requested_by: str | None


class EventSummary(Schema):
    """The event behind a delivery, in words."""

    id: str
    event_type: str
    severity: str
    title: str
    summary: str
    fields: dict[str, Any]
    occurred_at: Moment
    created_at: Moment
    published_by: str | None
    is_test: bool


class DeliveryDetail(DeliveryItem):
    """A delivery's whole story. `rule` says why this target got it, `user` whose preference that was."""

    rule: str
    user: str | None
    event: EventSummary
    attempt_log: list[AttemptItem]
    others: list[DeliveryItem] = []


class Page(Schema):
    """A page of the delivery log, newest first. `next_cursor` is None on the last one."""

    items: list[DeliveryItem]
    total: int
    page: int
    limit: int
    next_cursor: str | None = None


class LogFilter(Schema):
    """Which deliveries; all conditions must hold. `to` is compared without case, times are aware."""

    status: str | None = None
    event_type: str | None = None
    channel: str | None = None
    to: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    event_id: str | None = None


class PublishRequest(Schema):
    """An event as its caller gives it; checked on the way in."""

    event_type: str
    fields: dict[str, Any] = {}
    to: list[str] = []
    channel: str | None = None
    idempotency_key: str | None = None


class EventReceipt(Schema):
    """What was recorded: the event and its deliveries. `created` is False when its key was used before."""

    event_id: str
    event_type: str
    created: bool
    deliveries: list[DeliveryItem]
    warnings: list[str] = []


class TestResult(Schema):
    """The truth about one test message; `message` is a sentence with the provider's own reason."""

    __test__ = False

    success: bool
    message: str
    delivery_id: str
    error: str | None = None
    answer: str | None = None


class Dispatched(Schema):
    """What one dispatch did: attempts made, and how they ended."""

    attempted: int
    success: int
    retrying: int
    failed: int


class ResendResult(Schema):
    """What a resend did to one delivery; `why_not` is None when it is due again."""

    id: str
    why_not: str | None = None


class EventTypeInfo(Schema):
    """One event type of the registry, with the JSON Schema of its fields."""

    event_type: str
    description: str
    channels: list[str]
    wanted_by_default: bool | None
    json_schema: dict[str, Any]


class Rendered(Schema):
    """What would be sent to whom (`--dry-run`); `held_back` is why it would be suppressed."""

    channel: str
    to: str
    rule: str
    held_back: str | None
    message: dict[str, Any]


Prefs = dict[str, bool | str | None]
"""The flat preferences of one user, as the API shows them (`user_id`, `slack_enabled`, …)."""


class UserItem(Schema):
    id: str
    email: str
    role: str
    disabled: bool
    created_at: Moment


class TokenItem(Schema):
    """A token without its secret. `hint` is the secret's last characters."""

    id: str
    user: str
    role: str
    hint: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None
