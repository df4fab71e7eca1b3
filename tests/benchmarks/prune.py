"""Prune a million old deliveries, and how long publishing takes meanwhile."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator

from alertctl import outbox
from alertctl.db import Store
from alertctl.models import Status
from alertctl.publish import prepare, publish
from alertctl.routing import RoutingRules, Target
from alertctl.schemas import PublishRequest
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Line
from tests.benchmarks.sample_rows import sample_rows
from tests.benchmarks.setup import Setup, now

EVENTS_ALONE = 200
"""Events that are published before anything is pruned."""
REST_SECONDS = 0.005
"""Seconds between two events."""
RULES = RoutingRules((Target("slack", "#platform-alerts", "default_channel"),), frozenset({"slack"}))


def prune(setup: Setup) -> Iterator[Line]:
    """Prune once on each database: a second round would find nothing to prune."""
    for database in setup.databases:
        setup.report(f"prune on {database.name}")
        with sample_rows(database, setup.report, history=setup.sizes.pruned) as store:
            yield _pruned(setup, database, store)


def _pruned(setup: Setup, database: Database, store: Store) -> Line:
    alone = [_time_publish(store) for _ in range(EVENTS_ALONE)]
    beside: list[float] = []
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            beside.append(_time_publish(store))

    thread = threading.Thread(target=go_on)
    thread.start()
    began = time.monotonic()
    gone = outbox.prune(store, dict.fromkeys((Status.SUCCESS, Status.FAILED, Status.SUPPRESSED), 0.0), now())
    took = time.monotonic() - began
    ended.set()
    thread.join()
    if gone < setup.sizes.pruned:
        raise RuntimeError(f"{gone} of {setup.sizes.pruned} deliveries were pruned")
    return Line(
        row="prune",
        what=f"publishing an event while {setup.sizes.pruned} deliveries are pruned, p99",
        database=database.name,
        value=_p99(beside),
        unit="ms",
        yardstick=_p99(alone),
        against="with nothing pruned",
        note=f"{len(beside)} events in {took:.0f} s, the slowest {max(beside):.0f} ms; {gone / took:,.0f} rows/s gone",
        values=beside,
        yardsticks=alone,
    )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def _time_publish(store: Store) -> float:
    """Return the milliseconds of one committed event; rest afterwards."""
    publication = prepare(PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=["slack:#x"]), RULES)
    began = time.monotonic()
    store.write(lambda connection: publish(connection, publication, now()))
    took = time.monotonic() - began
    time.sleep(REST_SECONDS)
    return 1000 * took
