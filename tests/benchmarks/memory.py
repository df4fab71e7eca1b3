"""Resident memory of `serve`: idle, and while very many deliveries wait."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

from alertctl.db import Store
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line
from tests.benchmarks.processes import Child, Daemon, daemon, double, load
from tests.benchmarks.sendgrid import email_settings
from tests.benchmarks.setup import PATH, Setup, developer_token, put_alerts, wait_for_the_end

IDLE = Bar(at_most=110, unit="MB")
MORE = Bar(at_most=30, unit="MB more")
BODY = b'{"event_type": "safety_rollback", "feature_flag": "f", "to": ["slack:#ops", "email:dev@corp.example"]}'
ALERTS = 100
"""Alerts that a daemon sends by both channels before it counts as idle: all modules are loaded then."""
IDLE_SECONDS = 2.0
"""Seconds after which a daemon that has nothing to do counts as idle."""
WATCH_SECONDS = 4.0
"""Seconds for which memory is read while the backlog is worked off."""


def memory(setup: Setup) -> Iterator[Line]:
    """Read the resident memory (VmRSS, with shared libraries) of a new daemon in each round."""
    for database in setup.databases:
        idle, busy = [], []
        for number in range((setup.sizes.rounds + 1) // 2):
            setup.report(f"memory on {database.name}, round {number + 1}")
            before, during = _round(setup, database)
            idle.append(before)
            busy.append(during)
        rest: dict[str, Any] = {"database": database.name, "unit": "MB", "rounds": len(idle)}
        what = f"resident memory of serve, idle after {ALERTS} alerts by Slack and email"
        yield Line(row="memory", what=what, value=statistics.median(idle), bar=IDLE, values=idle, **rest)
        yield Line(
            row="memory",
            what=f"the same while {setup.sizes.backlog} deliveries wait, at most",
            value=statistics.median(busy),
            yardstick=statistics.median(idle),
            against="idle",
            bar=MORE,
            by="more",
            values=busy,
            yardsticks=idle,
            **rest,
        )


def _round(setup: Setup, database: Database) -> tuple[float, float]:
    with ExitStack() as opened:
        url, provider = opened.enter_context(database.fresh()), opened.enter_context(double(setup.sizes.latency))
        store = opened.enter_context(closing(Store(url)))
        ours = opened.enter_context(daemon(email_settings(provider, url) | {"SLACK_ENABLED": "true"}))
        load(ours.url, PATH, developer_token(store), BODY, 4, ALERTS)
        wait_for_the_end(store, 60)
        time.sleep(IDLE_SECONDS)
        idle = ours.resident
        put_alerts(store, setup.sizes.backlog)
        return idle, _peak(ours, provider)


def _peak(ours: Daemon, provider: Child) -> float:
    """Return the most memory that the daemon held while it was sending."""
    provider.ask("reset")
    until = time.monotonic() + WATCH_SECONDS
    most = 0.0
    while time.monotonic() < until:
        most = max(most, ours.resident)
        time.sleep(0.05)
    if not provider.ask("seen")["arrivals"]:
        raise RuntimeError("nothing was sent while memory was read")
    return most
