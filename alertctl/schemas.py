"""The data that the API, the command line and `notify` exchange. Plain dataclasses without SQL or pydantic, so that a
command that only calls a server starts fast."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from alertctl.serialization import Moment, as_json, from_json, parse_moment, stamp

__all__ = [
    "BODY_OPTIONS",
    "AttemptItem",
    "ConnectivityTestResult",
    "Count",
    "DeliveryDetail",
    "DeliveryItem",
    "Dispatched",
    "EventReceipt",
    "EventState",
    "EventSummary",
    "EventTypeInfo",
    "LogFilter",
    "Moment",
    "Page",
    "Paused",
    "Prefs",
    "Pruned",
    "PublishRequest",
    "Rendered",
    "ResendResult",
    "Stats",
    "StatusReport",
    "TokenItem",
    "UserItem",
    "as_json",
    "from_json",
    "parse_moment",
    "stamp",
    "with_current_names",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryItem:
    """One row of the delivery log. `latency_ms`: from the event's record to its success, in milliseconds."""

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
    updated_at: Moment | None = None
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptItem:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSummary:
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
    expires_at: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail(DeliveryItem):
    """A delivery's whole story. `routing_reason` says why this target got it, `user` whose preference that was."""

    routing_reason: str
    user: str | None
    event: EventSummary
    attempt_log: list[AttemptItem]
    others: list[DeliveryItem] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the delivery log, newest first. `next_cursor` is None on the last one.

    `total` is None where nobody counted: with `grep` in a long log, or when it wasn't asked for.
    """

    items: list[DeliveryItem]
    total: int | None
    page: int
    limit: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which deliveries; all conditions must hold.

    `to` is compared as addresses are, times are aware, `user` is an id or an email (the one whose preference chose the
    target), `flag` and `experiment` are the event's. `grep` is a text that the event, the address, the error or an
    attempt's answer holds, without case. `retrying`: failed and will be tried again; `final`: nothing more will happen.
    """

    status: str | None = None
    event_type: str | None = None
    channel: str | None = None
    to: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    event_id: str | None = None
    user: str | None = None
    flag: str | None = None
    experiment: str | None = None
    grep: str | None = None
    retrying: bool = False
    final: bool = False

    def conditions(self) -> dict[str, Any]:
        """Return the conditions that are set, by name."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) not in (None, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many deliveries share one key (an event type, a channel, an address, an error), by how they stand.

    `waiting` are pending or being sent, `retrying` failed and will be tried again, `failed` is final.
    """

    key: str
    total: int
    success: int
    failed: int
    retrying: int
    waiting: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The log in numbers: one count for each key, the largest first, and all of them together."""

    by: str
    items: list[Count]
    total: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """An event as its caller gives it: the one thing that `publish.prepare` checks, whoever the caller is.

    `dedup_window` in seconds: a target that was sent the same `dedup_key`, type and subject within it is suppressed.
    `expires_at`: it is not sent after this time. `originally_published_at`: the time of the first try to publish it, if
    that was earlier (spool).
    """

    event_type: str
    fields: dict[str, Any] = field(default_factory=dict)
    to: list[str] = field(default_factory=list)
    channel: str | None = None
    idempotency_key: str | None = None
    dedup_window: float | None = None
    expires_at: Moment | None = None
    originally_published_at: Moment | None = None


BODY_OPTIONS = tuple(item.name for item in fields(PublishRequest) if item.name not in ("fields", "idempotency_key"))
"""What the body of POST /events holds of a request, beside the event's own fields."""


def with_current_names(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body or spooled request of a version before 0.2 with today's names."""
    return {"originally_published_at" if name == "said_at" else name: value for name, value in body.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReceipt:
    """What was recorded: the event and its deliveries. `created` is False when its key was used before."""

    event_id: str
    event_type: str
    created: bool
    deliveries: list[DeliveryItem]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """How an event's deliveries stand; `final` when nothing more will happen to any of them by itself."""

    event_id: str
    event_type: str
    final: bool
    deliveries: list[DeliveryItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectivityTestResult:
    """The truth about one test message; `message` is a sentence with the provider's own reason."""

    success: bool
    message: str
    delivery_id: str
    error: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """What one dispatch did: attempts made, and how they ended."""

    attempted: int
    success: int
    retrying: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendResult:
    """What a resend did to one delivery; `problem` is None when it is due again."""

    id: str
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Deliveries that a prune took out of the log, or would with `dry_run`."""

    deliveries: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeInfo:
    """One event type of the registry, with the JSON Schema of its fields."""

    event_type: str
    description: str
    channels: list[str]
    default_on: bool | None
    json_schema: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What would be sent to whom (`--dry-run`), or was (`log show --rendered`); `suppressed_reason` is why it would be
    suppressed. `message` is Slack's payload, or an email's `subject`, `text` and `html`."""

    channel: str
    to: str
    routing_reason: str
    suppressed_reason: str | None
    message: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A provider, or one of its addresses (`to`), that is not called `until` then.

    `breaker`: the provider refused the credentials or settings (`code`) of the daemon on `host` with process id `pid`,
    whose next probe goes out at `until`. Else it asked us to wait.
    """

    provider: str
    to: str | None
    code: str
    breaker: bool
    since: Moment
    until: Moment
    host: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """How an alertctl stands (`alertctl status`): `where` is its database or server without secrets, `version` its own.

    `depth`: deliveries that wait, by channel; `oldest_due_seconds`: how late the oldest is. `last_success` by channel.
    `daemon`: whether this answer comes from a running daemon.
    """

    where: str
    version: str
    schema_version: str
    daemon: bool
    depth: dict[str, int]
    oldest_due_seconds: float
    last_success: dict[str, Moment | None]
    paused: list[Paused]


Prefs = dict[str, bool | str | None]
"""The flat preferences of one user, as the API shows them (`user_id`, `slack_enabled`, …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserItem:
    """A user. `issuer` and `subject` are the identity of a JWT user, None for everybody else."""

    id: str
    email: str | None
    role: str
    disabled: bool
    created_at: Moment
    issuer: str | None = None
    subject: str | None = None

    @property
    def name(self) -> str:
        """The email, or the id of a user without one."""
        return self.email or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenItem:
    """A token without its secret. `hint` is the secret's last characters."""

    id: str
    user: str
    role: str
    hint: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None
