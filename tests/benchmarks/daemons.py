"""Two and three daemons on one Postgres, beside one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from alertctl.db import Store
from tests.benchmarks.databases import Database, Postgres
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.processes import Child, Daemon, daemon, double
from tests.benchmarks.setup import Setup, hold, hold_again, let_go, put_alerts, settings, wait_for_the_end

BARS = {2: Bar(at_least=1.5), 3: Bar(at_least=1.7)}


def daemons(setup: Setup) -> Iterator[Line]:
    """Run three daemons and suspend (SIGSTOP) those that a round doesn't use. The provider answers at once."""
    for database in setup.databases:
        if isinstance(database, Postgres):
            yield from _lines(setup, database)


def _lines(setup: Setup, database: Database) -> Iterator[Line]:
    rates: dict[int, list[float]] = {1: [], 2: [], 3: []}
    with ExitStack() as opened:
        url, slack = opened.enter_context(database.fresh()), opened.enter_context(double(0.0))
        store = Store(url)
        opened.callback(store.close)
        hold(store)
        running = [opened.enter_context(daemon(settings(slack, url))) for _ in range(3)]
        _measure_rate(store, slack, 300)
        for number in range(setup.sizes.rounds):
            for count in rates:
                setup.report(f"daemons, round {number + 1} of {setup.sizes.rounds}: {count}")
                with _suspended(running[count:]):
                    rates[count].append(_measure_rate(store, slack, setup.sizes.shared))
    cores = os.cpu_count() or 1
    for count, bar in BARS.items():
        measured = list(zip(rates[count], rates[1], strict=True))
        what = f"{count} daemons on one database, provider at 0 ms"
        note = f"{cores} cores, shared with Postgres and the provider"
        more = {"judged": cores >= count, "note": note}
        yield compared("daemons", what, database.name, "/s", measured, "one daemon", bar, **more)


@contextmanager
def _suspended(daemons: Sequence[Daemon]) -> Iterator[None]:
    for suspended in daemons:
        suspended.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for suspended in daemons:
            suspended.process.send_signal(signal.SIGCONT)


def _measure_rate(store: Store, slack: Child, count: int) -> float:
    """Return the deliveries a second, from the first POST to the last answer."""
    put_alerts(store, count)
    slack.ask("reset")
    let_go(store)
    wait_for_the_end(store, 60 + count / 50)
    hold_again(store)
    seen = slack.ask("seen")
    if len(seen["arrivals"]) != count:
        raise RuntimeError(f"{len(seen['arrivals'])} messages arrived for {count} alerts")
    return float(count / (seen["answered"] - min(seen["arrivals"])))
