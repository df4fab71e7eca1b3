"""The data that the API, the command line and `notify` exchange. Plain dataclasses without SQL or pydantic, so that a
command that only calls a server starts fast."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from alertctl.serialization import Moment as Moment
from alertctl.serialization import as_json as as_json
from alertctl.serialization import from_json as from_json
from alertctl.serialization import parse_moment as parse_moment
from alertctl.serialization import stamp as stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryItem:
    """One row of the delivery log. `latency_ms`: from the event's record to its success, in milliseconds.

    `thread_id` is the id of the delivery whose message is the root of its thread; None for a message without replies.
    `labels` are the event's.
    """

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
    thread_id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptItem:
    """An attempt. Without `outcome` it is in progress, or its process ended. `duration_ms` in milliseconds.

    `note` tells what the message lacks: a mention that could not be looked up, a template that failed.
    """

    number: int
    provider: str
    started_at: Moment
    duration_ms: int | None
    outcome: str | None
    reason: str | None
    code: str | None
    answer: str | None
    requested_by: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSummary:
    """The event of a delivery."""

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
    """A delivery with its event and attempts.

    `user`: whose preference chose the target. `route`: the name of the route that did. `options` of the message are
    those that differ from the defaults.
    `replies` are the newest messages in the thread, if this one is its root.
    """

    routing_reason: str
    user: str | None
    route: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    event: EventSummary
    attempt_log: list[AttemptItem]
    others: list[DeliveryItem] = field(default_factory=list)
    replies: list[DeliveryItem] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the delivery log, newest first. `next_cursor` is None on the last one.

    `total` is None if it wasn't counted: with `grep` in a long log, or with `count` off.
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
    target), `flag`, `experiment` and `labels` are the event's. `grep` is a text that the event, the address, the error
    or an attempt's answer holds, without case. `retrying`: failed and will be tried again; `final`: nothing more will
    happen.
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
    labels: dict[str, str] = field(default_factory=dict)
    grep: str | None = None
    retrying: bool = False
    final: bool = False

    def conditions(self) -> dict[str, Any]:
        """Return the conditions that are set, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False, {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many deliveries share a key (an event type, a channel, an address, an error), by status.

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
    """Counts of the log: one for each key, the largest first, and their total."""

    by: str
    items: list[Count]
    total: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """An event as a caller passes it to `publish.prepare`.

    `dedup_window` in seconds: a target that was sent the same `dedup_key`, type and subject within it is suppressed.
    `expires_at`: not sent from then on. `originally_published_at`: the time of the first try, if that was earlier
    (spool).
    """

    event_type: str
    fields: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
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
    """The recorded event and its deliveries. `created` is False when its key was used before."""

    event_id: str
    event_type: str
    created: bool
    deliveries: list[DeliveryItem]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """An event's deliveries; `final` when all of them are in a final state."""

    event_id: str
    event_type: str
    final: bool
    deliveries: list[DeliveryItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectivityTestResult:
    """The result of a test message; `message` is a sentence with the provider's own reason."""

    success: bool
    message: str
    delivery_id: str
    error: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """The attempts of a dispatch, by result."""

    attempted: int
    success: int
    retrying: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendResult:
    """The outcome of a resend for a delivery; `problem` is None when it is due again."""

    id: str
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many deliveries a prune deleted from the log, or would delete with `dry_run`."""

    deliveries: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTypeInfo:
    """One event type of the registry, with the JSON Schema of its fields and an example of them."""

    event_type: str
    description: str
    channels: list[str]
    default_on: bool | None
    json_schema: dict[str, Any]
    example: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A rendered message and its target. `message` is Slack's payload, or an email's `headers`, `text` and `html`.

    `route` names the route that chose or suppressed the target.
    """

    channel: str
    to: str
    routing_reason: str
    suppressed_reason: str | None
    message: dict[str, Any]
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A provider, or one of its addresses (`to`), that is not called before `until`.

    `breaker`: the provider rejected the credentials or settings (`code`) of the daemon on `host` with process id `pid`,
    which sends its next probe at `until`. Otherwise the provider asked us to wait.
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
class InstanceItem:
    """A running daemon. `routes_hash` is equal for daemons with the same routes."""

    host: str
    pid: int
    routes_hash: str
    reported_at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The state of an alertctl. `where` is its database or server, without secrets.

    `depth`: deliveries that wait, by channel; `oldest_due_seconds`: how late the oldest is. `last_success` by channel.
    `oldest_waiting_seconds`: how long the oldest delivery without a final state waits, 0 if there is none, None from an
    older server.
    `daemon`: whether this answer comes from a running daemon. `instances`: the running daemons on this database.
    `warnings`: problems that these have together.
    """

    where: str
    version: str
    schema_version: str
    daemon: bool
    depth: dict[str, int]
    oldest_due_seconds: float
    last_success: dict[str, Moment | None]
    paused: list[Paused]
    oldest_waiting_seconds: float | None = None
    instances: list[InstanceItem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteItem:
    """A route of the configuration. `match` has its conditions by key, `to` its targets (`default`: the audience).

    `options` of messages are those that it sets. `continues`: the routes below are tried too. A `broken` route has a
    mistake: its events go to the audience, too.
    """

    order: int
    name: str
    match: dict[str, str]
    to: list[str]
    options: dict[str, Any]
    continues: bool
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteList:
    """The routes in their order. `default` is the audience: the targets of an event that matches no route."""

    items: list[RouteItem]
    default: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteVerdictItem:
    """The verdict of a route on an event: `matched`, `not matched` or `not reached`, and why.

    `mismatch` is the key of the condition that does not hold.
    """

    name: str
    verdict: str
    mismatch: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceVerdict:
    """Whether a user's preferences notify them of an event on a channel: at an address, or why not."""

    channel: str
    notifies: bool
    address: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedTarget:
    """A target that an event would have. `outcome` is `deliver`, or `suppress` with its `cause`.

    `source` names the rule that chose it: `route NAME`, a setting, `preferences` (of `user`), `label slack`, `--to`.
    """

    channel: str
    to: str
    outcome: str
    source: str
    cause: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTestResult:
    """The targets that an event would have, the verdicts that led to them, and what was not considered (`notes`).

    `preferences` are those of the user that the test names.
    """

    event_type: str
    severity: str
    routes: list[RouteVerdictItem]
    preferences: list[PreferenceVerdict]
    targets: list[RoutedTarget]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


Prefs = dict[str, bool | str | None]
"""The flat preferences of one user, as the API shows them (`user_id`, `slack_enabled`, …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserItem:
    """A user. `issuer` and `subject` are the identity of a JWT user, None for other users."""

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
    """A token without its secret. `hint` is the secret's last characters.

    `scope` is `publish` for a token that may only publish events and read their state, else None.
    """

    id: str
    user: str
    role: str
    hint: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None
    scope: str | None = None
