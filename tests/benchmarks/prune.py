"""A million old deliveries taken out of the log, and how long somebody who publishes meanwhile waits."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator

from alertctl import outbox
from alertctl.db import Store
from alertctl.models import Status
from alertctl.publish import prepare, publish
from alertctl.routing import Audience, Target
from alertctl.schemas import PublishRequest
from tests.benchmarks.lines import Line
from tests.benchmarks.places import Place
from tests.benchmarks.stage import Stage, now
from tests.benchmarks.stock import stock

ALONE = 200
"""Events that are published before anything is pruned."""
BREATH = 0.005
"""Seconds between two events."""
AUDIENCE = Audience((Target("slack", "#platform-alerts", "default_channel"),), frozenset({"slack"}))


def prune(stage: Stage) -> Iterator[Line]:
    """Once on each database: there is nothing left for a second round."""
    for place in stage.places:
        stage.say(f"prune on {place.name}")
        with stock(place, stage.say, history=stage.sizes.pruned) as store:
            yield _pruned(stage, place, store)


def _pruned(stage: Stage, place: Place, store: Store) -> Line:
    alone = [_published(store) for _ in range(ALONE)]
    beside: list[float] = []
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            beside.append(_published(store))

    thread = threading.Thread(target=go_on)
    thread.start()
    began = time.monotonic()
    gone = outbox.prune(store, dict.fromkeys((Status.SUCCESS, Status.FAILED, Status.SUPPRESSED), 0.0), now())
    took = time.monotonic() - began
    ended.set()
    thread.join()
    if gone < stage.sizes.pruned:
        raise RuntimeError(f"{gone} of {stage.sizes.pruned} deliveries were pruned")
    return Line(
        row="prune",
        what=f"publishing an event while {stage.sizes.pruned} deliveries are pruned, p99",
        database=place.name,
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


def _published(store: Store) -> float:
    """Milliseconds of one event, committed; and a breath behind it."""
    one = prepare(PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=["slack:#x"]), AUDIENCE)
    began = time.monotonic()
    store.write(lambda connection: publish(connection, one, now()))
    took = time.monotonic() - began
    time.sleep(BREATH)
    return 1000 * took
