"""Set up benchmarks: settings for the double, waiting alerts, a caller's token."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from alertctl.db import Store
from alertctl.ids import new_id
from alertctl.models import Status
from alertctl.outbox.tables import delivery, pauses
from alertctl.publish import Publication, prepare, publish_many
from alertctl.routing import RoutingRules, Target
from alertctl.schemas import PublishRequest
from alertctl.users import create_token
from tests.benchmarks.databases import Database
from tests.benchmarks.processes import Child, until
from tests.benchmarks.sample_rows import sample_rows
from tests.benchmarks.sizes import Sizes

RULES = RoutingRules((Target("slack", "#platform-alerts", "default_channel"),), frozenset({"slack", "email"}))
ALERT = {
    "feature_flag": "checkout-v3",
    "environment": "production",
    "metric": "error_rate",
    "value": 0.0714,
    "threshold": 0.05,
    "from_percentage": 50,
    "to_percentage": 0,
}
"""The alert of every row: critical, with what README's example says and the rollout."""
BODY = json.dumps({"event_type": "safety_rollback", **ALERT, "to": ["slack:#ops"]}).encode()
PATH = "/api/v1/notifications/events"
PART = 500


@dataclass(frozen=True, slots=True)
class Setup:
    """The arguments of a row: sizes, databases, and a function that reports progress."""

    sizes: Sizes
    databases: list[Database]
    report: Callable[[str], None]
    opened: ExitStack
    sample_databases: dict[tuple[str, str], Store] = field(default_factory=dict)

    def kept(self, database: Database, name: str, **counts: int) -> Store:
        """A database with many rows that more than one row of the table uses; dropped at the end of the run."""
        if (database.name, name) not in self.sample_databases:
            self.sample_databases[database.name, name] = self.opened.enter_context(
                sample_rows(database, self.report, **counts)
            )
        return self.sample_databases[database.name, name]


def now() -> datetime:
    return datetime.now(UTC)


def settings(provider: Child, url: str, **more: str) -> dict[str, str]:
    """The environment of a daemon that sends to the double over TLS, unpaced, each alert as a message of its own."""
    return {
        "DATABASE_URL": url,
        "SLACK_ENABLED": "true",
        "SLACK_BOT_TOKEN": "xoxb-benchmark",
        "SLACK_API_URL": f"{provider.hello['url']}/api/",
        "SLACK_PER_SECOND": "0",
        "SLACK_THREADS": "off",
        "ALERTCTL_CA_BUNDLE": provider.hello["ca_file"],
        "ALERTCTL_LOG_LEVEL": "warning",
        **more,
    }


def developer_token(store: Store) -> str:
    return store.write(lambda connection: create_token(connection, "ci@corp.example", "developer", None, now()))[1]


def put_alerts(store: Store, count: int, *, subjects: bool = False) -> None:
    """Publish `count` alerts to one Slack channel each, about a flag of its own with `subjects`."""
    publication = _publication(ALERT)
    run = new_id(now())
    for start in range(0, count, PART):
        batch = [publication] * min(PART, count - start)
        if subjects:
            batch = [_publication(ALERT | {"feature_flag": f"{run}-{start + n}"}) for n in range(len(batch))]
        store.write(lambda connection, batch=batch: publish_many(connection, batch, now()))  # type: ignore[misc]


def _publication(fields: dict[str, Any]) -> Publication:
    return prepare(PublishRequest(event_type="safety_rollback", fields=fields, to=["slack:#ops"]), RULES)


def hold(store: Store) -> None:
    """Keep every daemon from calling Slack, by a pause like that of a rate limit."""
    row: dict[str, Any] = {"provider": "slack", "address_key": "", "reason": "rate_limited", "code": "benchmark"}
    row |= {"since": now(), "until": now() + timedelta(hours=1)}
    store.write(lambda connection: connection.execute(pauses.insert().values(row)))


def let_go(store: Store) -> None:
    """End the pause; daemons notice within two seconds."""
    store.write(lambda connection: connection.execute(update(pauses).values(until=now())))


def hold_again(store: Store) -> None:
    store.write(lambda connection: connection.execute(update(pauses).values(until=now() + timedelta(hours=1))))


def wait_for_the_end(store: Store, seconds: float) -> None:
    """Wait until no delivery is due any more. Raises TimeoutError, or RuntimeError when one did not arrive."""
    waiting = select(delivery.c.id).where(delivery.c.next_attempt_at.is_not(None)).limit(1)
    failed = select(delivery.c.error).where(delivery.c.status == Status.FAILED.value).limit(1)

    def empty() -> bool:
        with store.reading() as connection:
            return connection.execute(waiting).first() is None

    until(empty, seconds, "all deliveries")
    with store.reading() as connection:
        if error := connection.execute(failed).first():
            raise RuntimeError(f"a delivery failed: {error[0]}")
