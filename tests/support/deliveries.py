"""Helpers to publish, claim, record and read deliveries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from alertctl import outbox
from alertctl.channels import build
from alertctl.channels.base import Channel, Receipt
from alertctl.config import Settings, load
from alertctl.db import Store, TransactionRunner
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import DeliveryError, Reason
from alertctl.outbox import AttemptResult, Claim, Claimed, ClaimScope
from alertctl.outbox.tables import attempt, delivery, pauses
from alertctl.publish import Publication, prepare, publish
from alertctl.routing import RoutingRules, Target, routing_rules_of
from alertctl.sandbox import Sandbox
from alertctl.schemas import Dispatched, PublishRequest

NOW = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
EVERYBODY = RoutingRules(
    (Target("slack", "#platform-alerts", "default_channel"), Target("email", "ops@corp.example", "admin_email")),
    frozenset({"slack", "email"}),
)
SLACK, EMAIL = ClaimScope("slack", "slack"), ClaimScope("email", "smtp")
SCHEDULE = (5.0, 30.0, 120.0)
LEASE = 30.0
MAX_AGE = 72 * 3600.0


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def publication(
    event_type: str,
    fields: dict[str, Any],
    rules: RoutingRules = EVERYBODY,
    published_by: str | None = None,
    **more: Any,
) -> Publication:
    return prepare(PublishRequest(event_type=event_type, fields=fields, **more), rules, published_by)


def announce(connect: TransactionRunner, *to: str, event_type: str = "generic_alert", now: datetime = NOW) -> str:
    """Publish one event to these targets. Returns its id."""
    fields = {"title": "Disk almost full"} if event_type == "generic_alert" else {}
    alert = publication(event_type, fields, to=to)
    return connect.write(lambda connection: publish(connection, alert, now)).event_id


def claim(
    connect: TransactionRunner, scope: ClaimScope = SLACK, limit: int = 100, now: datetime = NOW, **more: Any
) -> Claim:
    return connect.write(lambda connection: outbox.claim(connection, scope, (limit,) * 4, now, LEASE, **more))


def claim_one(connect: TransactionRunner, scope: ClaimScope = SLACK, now: datetime = NOW) -> Claimed:
    (only,) = claim(connect, scope, now=now).taken
    return only


def record(connect: TransactionRunner, *ended: AttemptResult, scope: ClaimScope = SLACK, now: datetime = NOW) -> Any:
    return connect.write(
        lambda connection: outbox.record(connection, scope, ended, SCHEDULE, MAX_AGE, now, lambda: 0.0)
    )


def arrived(claimed: Claimed) -> AttemptResult:
    return AttemptResult(claimed, Receipt("1700000000.000100", '{"ok": true}'), 12)


def refused(claimed: Claimed, reason: Reason, code: str = "some_code", **more: Any) -> AttemptResult:
    return AttemptResult(claimed, DeliveryError(reason, code, detail="what it said", **more), 12)


def rows(store: Store, table: Any = delivery, **where: Any) -> list[Any]:
    """Return the matching rows of a table, oldest first."""
    conditions = [table.c[name] == value for name, value in where.items()]
    with store.reading() as connection:
        return list(connection.execute(select(table).where(*conditions).order_by(*table.primary_key.columns)))


def row(store: Store, table: Any = delivery, **where: Any) -> Any:
    (only,) = rows(store, table, **where)
    return only


def attempts(store: Store, delivery_id: str) -> list[Any]:
    return rows(store, attempt, delivery_id=delivery_id)


def open_pauses(store: Store, now: datetime = NOW) -> dict[str, str]:
    """Return the paused addresses ('' is the provider), each with its code."""
    return {pause.address_key: pause.code for pause in rows(store, pauses) if pause.until > now}


def settings_for(sandbox: Sandbox, url: str, **more: str) -> Settings:
    quick = {"RETRY_SCHEDULE": "1s 1s 1s 1s 1s 1s", "ALERTCTL_DEADLINE": "20s", "DATABASE_URL": url}
    return load(sandbox.settings() | quick | more, cwd=Path("/nonexistent"))


@contextmanager
def dispatching(connect: TransactionRunner, settings: Settings, clock: Any, **options: Any) -> Iterator[Dispatcher]:
    channels = build(settings)
    try:
        yield Dispatcher(connect, channels, DispatchOptions.of(settings), clock, **options)
    finally:
        close_channels(channels.values())


def dispatched(**counts: int) -> Dispatched:
    """Return the counts of a dispatch; those without a value are 0."""
    return Dispatched(**{"attempted": 0, "success": 0, "retrying": 0, "failed": 0} | counts)


def close_channels(channels: Sequence[Channel] | Any) -> None:
    for channel in channels:
        channel.close()


def rules_for(sandbox: Sandbox, url: str) -> RoutingRules:
    return routing_rules_of(settings_for(sandbox, url))


def wall_clock() -> datetime:
    return datetime.now(UTC)


def statuses(store: Store) -> Counter[str]:
    return Counter(entry.status for entry in rows(store))
