"""Published -> delivered: the rate, the CPU, and the commits of one daemon with a backlog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from alertctl.channels import build
from alertctl.config import load
from alertctl.db import Store, Writer
from alertctl.dispatcher import Dispatcher, DispatchOptions
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.places import Place
from tests.benchmarks.processes import Child, Daemon, child, daemon, double
from tests.benchmarks.stage import Stage, hold, hold_again, let_go, now, put_alerts, settings, wait_for_the_end

RATE = {"SQLite": Bar(at_least=0.85), "Postgres": Bar(at_least=0.80)}
CPU = Bar(at_most=2.2)
COMMITS = Bar(at_most=0.1, unit="")
WARM = 200
"""Alerts before the first round: connections are made, modules loaded."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of ours, and the same of bare urllib3 and raw SQL: deliveries a second, CPU ms of 1000 deliveries.

    `delay` is what Slack's answer really took, in milliseconds.
    """

    rate: float
    cpu: float
    delay: float
    bare_rate: float
    bare_cpu: float


def deliver(stage: Stage) -> Iterator[Line]:
    """Rate against the ideal, CPU against urllib3 and raw SQL, in turns: a round of ours, a round of the yardstick."""
    for place in stage.places:
        with double(stage.sizes.latency) as slack:
            yield from _lines(stage, place, _rounds(stage, place, slack))
            yield _commits(stage, place, slack)


def _lines(stage: Stage, place: Place, rounds: list[Round]) -> Iterator[Line]:
    sizes = stage.sizes
    best = max(one.bare_rate for one in rounds)
    note = f"Slack answered after {max(one.delay for one in rounds):.1f} ms; urllib3 and SQL alone: {best:.0f}/s"
    ideal, against = sizes.senders / sizes.latency, f"{sizes.senders} senders / {sizes.latency:g} s"
    what = f"published -> delivered, {sizes.alerts} alerts, {sizes.senders} senders"
    rates = [(one.rate, ideal) for one in rounds]
    yield compared("deliver", what, place.name, "/s", rates, against, RATE[place.name], note=note)
    what = "CPU of 1000 deliveries, rendering included"
    costs = [(one.cpu, one.bare_cpu) for one in rounds]
    yield compared("deliver", what, place.name, "ms", costs, "urllib3, raw SQL", CPU)


def _rounds(stage: Stage, place: Place, slack: Child) -> list[Round]:
    sizes = stage.sizes
    with ExitStack() as opened:
        url, bare_url = opened.enter_context(place.fresh()), opened.enter_context(place.fresh(empty=True))
        store = opened.enter_context(closing(Store(url)))
        hold(store)
        ours = opened.enter_context(daemon(settings(slack, url, ALERTCTL_SENDERS=str(sizes.senders))))
        address = (slack.hello["url"], slack.hello["ca_file"])
        bare = opened.enter_context(child("bare", bare_url, *address, str(sizes.senders)))
        _round(store, ours, slack, bare, WARM)
        rounds = []
        for number in range(sizes.rounds):
            stage.say(f"deliver on {place.name}, round {number + 1} of {sizes.rounds}")
            rounds.append(_round(store, ours, slack, bare, sizes.alerts))
        return rounds


def _round(store: Store, ours: Daemon, slack: Child, bare: Child, count: int) -> Round:
    """From the first POST to the last answer; CPU from the moment when the daemon may begin to its last record."""
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


def _commits(stage: Stage, place: Place, slack: Child) -> Line:
    """The daemon's own parts in this process, where the writer's count can be read."""
    sizes = stage.sizes
    with place.fresh() as url, closing(Store(url)) as store:
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
    return Line(row="deliver", what=what, database=place.name, value=commits / sizes.alerts, unit="", bar=COMMITS)
