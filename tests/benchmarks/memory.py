"""Resident memory of `serve`: idle, and while very many deliveries wait."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

from alertctl.db import Store
from tests.benchmarks.lines import Bar, Line
from tests.benchmarks.places import Place
from tests.benchmarks.processes import Child, Daemon, daemon, double, load
from tests.benchmarks.sendgrid import email_settings
from tests.benchmarks.stage import PATH, Stage, developer_token, put_alerts, wait_for_the_end

IDLE = Bar(at_most=110, unit="MB")
MORE = Bar(at_most=30, unit="MB more")
BODY = b'{"event_type": "safety_rollback", "feature_flag": "f", "to": ["slack:#ops", "email:dev@corp.example"]}'
ALERTS = 100
"""Alerts that each daemon has sent by both channels before it counts as idle: everything is loaded by then."""
SETTLED = 2.0
"""Seconds after which a daemon that has nothing to do counts as idle."""
WATCH = 4.0
"""Seconds for which memory is read while the backlog is worked off."""


def memory(stage: Stage) -> Iterator[Line]:
    """A new daemon for each round; read from outside (VmRSS), shared libraries included."""
    for place in stage.places:
        idle, busy = [], []
        for number in range((stage.sizes.rounds + 1) // 2):
            stage.say(f"memory on {place.name}, round {number + 1}")
            before, during = _round(stage, place)
            idle.append(before)
            busy.append(during)
        rest: dict[str, Any] = {"database": place.name, "unit": "MB", "rounds": len(idle)}
        what = f"resident memory of serve, idle after {ALERTS} alerts by Slack and email"
        yield Line(row="memory", what=what, value=statistics.median(idle), bar=IDLE, values=idle, **rest)
        yield Line(
            row="memory",
            what=f"the same while {stage.sizes.backlog} deliveries wait, at most",
            value=statistics.median(busy),
            yardstick=statistics.median(idle),
            against="idle",
            bar=MORE,
            by="more",
            values=busy,
            yardsticks=idle,
            **rest,
        )


def _round(stage: Stage, place: Place) -> tuple[float, float]:
    with ExitStack() as opened:
        url, provider = opened.enter_context(place.fresh()), opened.enter_context(double(stage.sizes.latency))
        store = opened.enter_context(closing(Store(url)))
        ours = opened.enter_context(daemon(email_settings(provider, url) | {"SLACK_ENABLED": "true"}))
        load(ours.url, PATH, developer_token(store), BODY, 4, ALERTS)
        wait_for_the_end(store, 60)
        time.sleep(SETTLED)
        idle = ours.resident
        put_alerts(store, stage.sizes.backlog)
        return idle, _most(ours, provider)


def _most(ours: Daemon, provider: Child) -> float:
    """The most that it held while it was sending."""
    provider.ask("reset")
    until = time.monotonic() + WATCH
    most = 0.0
    while time.monotonic() < until:
        most = max(most, ours.resident)
        time.sleep(0.05)
    if not provider.ask("seen")["arrivals"]:
        raise RuntimeError("nothing was sent while memory was read")
    return most
