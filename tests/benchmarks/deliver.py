"""From published to delivered: rate, CPU and commits of one daemon with a backlog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from alertctl.channels import build
from alertctl.config import load
from alertctl.db import Store, Writer
from alertctl.dispatcher import Dispatcher, DispatchOptions
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.processes import Child, Daemon, child, daemon, double
from tests.benchmarks.setup import Setup, hold, hold_again, let_go, now, put_alerts, settings, wait_for_the_end

RATE = {"SQLite": Bar(at_least=0.85), "Postgres": Bar(at_least=0.80)}
CPU = Bar(at_most=2.2)
COMMITS = Bar(at_most=0.1, unit="")
WARM = 200
"""Alerts before the first round: connections are made, modules loaded."""


@dataclass(frozen=True, slots=True)
class Round:
    """Deliveries a second and CPU ms of 1000 deliveries in one round, ours and those of urllib3 and raw SQL.

    `delay` is how long Slack's answer really took, in milliseconds.
    """

    rate: float
    cpu: float
    delay: float
    bare_rate: float
    bare_cpu: float


def deliver(setup: Setup) -> Iterator[Line]:
    """Compare the rate with the ideal and the CPU with urllib3 and raw SQL, in alternating rounds."""
    for database in setup.databases:
        with double(setup.sizes.latency) as slack:
            yield from _lines(setup, database, _measure_rounds(setup, database, slack))
            yield _count_commits(setup, database, slack)


def _lines(setup: Setup, database: Database, rounds: list[Round]) -> Iterator[Line]:
    sizes = setup.sizes
    best = max(result.bare_rate for result in rounds)
    note = f"Slack answered after {max(result.delay for result in rounds):.1f} ms; urllib3 and SQL alone: {best:.0f}/s"
    ideal, against = sizes.senders / sizes.latency, f"{sizes.senders} senders / {sizes.latency:g} s"
    what = f"published -> delivered, {sizes.alerts} alerts, {sizes.senders} senders"
    rates = [(result.rate, ideal) for result in rounds]
    yield compared("deliver", what, database.name, "/s", rates, against, RATE[database.name], note=note)
    what = "CPU of 1000 deliveries, rendering included"
    costs = [(result.cpu, result.bare_cpu) for result in rounds]
    yield compared("deliver", what, database.name, "ms", costs, "urllib3, raw SQL", CPU)


def _measure_rounds(setup: Setup, database: Database, slack: Child) -> list[Round]:
    sizes = setup.sizes
    with ExitStack() as opened:
        url, bare_url = opened.enter_context(database.fresh()), opened.enter_context(database.fresh(empty=True))
        store = opened.enter_context(closing(Store(url)))
        hold(store)
        ours = opened.enter_context(daemon(settings(slack, url, ALERTCTL_SENDERS=str(sizes.senders))))
        address = (slack.hello["url"], slack.hello["ca_file"])
        bare = opened.enter_context(child("bare", bare_url, *address, str(sizes.senders)))
        _measure_round(store, ours, slack, bare, WARM)
        rounds = []
        for number in range(sizes.rounds):
            setup.report(f"deliver on {database.name}, round {number + 1} of {sizes.rounds}")
            rounds.append(_measure_round(store, ours, slack, bare, sizes.alerts))
        return rounds


def _measure_round(store: Store, ours: Daemon, slack: Child, bare: Child, count: int) -> Round:
    """Measure one round: the time from the first POST to the last answer, the CPU until the last record."""
    put_alerts(store, count)
    slack.ask("reset")
    before = ours.cpu
    let_go(store)
    wait_for_the_end(store, 60 + count / 50)
    cpu = ours.cpu - before
    hold_again(store)
    seen = slack.ask("seen")
    if len(seen["arrivals"]) != count:
        raise RuntimeError(f"{len(seen['arrivals'])} messages arrived for {count} alerts")
    rate = count / (seen["answered"] - min(seen["arrivals"]))
    yardstick = bare.ask(str(count))
    bare_rate, bare_cpu = count / yardstick["seconds"], yardstick["cpu"]
    return Round(rate, 1e6 * cpu / count, 1000 * seen["delay"], bare_rate, 1e6 * bare_cpu / count)


def _count_commits(setup: Setup, database: Database, slack: Child) -> Line:
    """Count commits with the daemon's parts in this process, where the writer's count can be read."""
    sizes = setup.sizes
    with database.fresh() as url, closing(Store(url)) as store:
        chosen = load(settings(slack, url, ALERTCTL_SENDERS=str(sizes.senders)), cwd=Path("/"))
        writer, channels = Writer(store), build(chosen)
        dispatcher = Dispatcher(writer, channels, DispatchOptions.of(chosen), now)
        put_alerts(store, sizes.alerts)
        dispatcher.start()
        wait_for_the_end(store, 60 + sizes.alerts / 50)
        commits = writer.commits
        dispatcher.stop(5)
        writer.close()
        for channel in channels.values():
            channel.close()
    what = "commits for a delivery under a backlog (counted)"
    return Line(row="deliver", what=what, database=database.name, value=commits / sizes.alerts, unit="", bar=COMMITS)
