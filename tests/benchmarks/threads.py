"""Delivered per second with threads and without, for messages about as many subjects as there are messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

from alertctl.db import Store
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.processes import Child, daemon, double
from tests.benchmarks.setup import Setup, hold, hold_again, let_go, put_alerts, settings, wait_for_the_end

BAR = Bar(at_least=0.9)
WARM = 200
"""Alerts before the first round: connections are made, modules loaded."""


def threads(setup: Setup) -> Iterator[Line]:
    """Compare the rate with threads to the rate without, in alternating rounds."""
    for database in setup.databases:
        with double(setup.sizes.latency) as slack:
            rates = list(_measure_rounds(setup, database, slack))
        what = f"published -> delivered with threads, {setup.sizes.alerts} subjects, {setup.sizes.senders} senders"
        yield compared("threads", what, database.name, "/s", rates, "without threads", BAR)


def _measure_rounds(setup: Setup, database: Database, slack: Child) -> Iterator[tuple[float, float]]:
    sizes = setup.sizes
    with ExitStack() as opened:
        stores = []
        for mode in ("subject", "off"):
            url = opened.enter_context(database.fresh())
            store = opened.enter_context(closing(Store(url)))
            hold(store)
            opened.enter_context(daemon(settings(slack, url, SLACK_THREADS=mode, ALERTCTL_SENDERS=str(sizes.senders))))
            _measure(store, slack, WARM)
            stores.append(store)
        with_threads, without = stores
        for number in range(sizes.rounds):
            setup.report(f"threads on {database.name}, round {number + 1} of {sizes.rounds}")
            yield _measure(with_threads, slack, sizes.alerts), _measure(without, slack, sizes.alerts)


def _measure(store: Store, slack: Child, count: int) -> float:
    """Return the deliveries a second, from the first POST to the last answer."""
    put_alerts(store, count, subjects=True)
    slack.ask("reset")
    let_go(store)
    wait_for_the_end(store, 60 + count / 50)
    hold_again(store)
    seen = slack.ask("seen")
    if len(seen["arrivals"]) != count:
        raise RuntimeError(f"{len(seen['arrivals'])} messages arrived for {count} alerts")
    return count / float(seen["answered"] - min(seen["arrivals"]))
