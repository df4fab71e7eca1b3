"""Accepted alerts a second over HTTP, durable, beside FastAPI that validates the same body and answers a constant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from alertctl.db import Store
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.processes import Daemon, child, daemon, double, load
from tests.benchmarks.setup import BODY, PATH, Setup, developer_token, settings

RATE = Bar(at_least=0.25)
TAIL = Bar(at_most=10)
WARM = 500


def accept(setup: Setup) -> Iterator[Line]:
    """Measure a daemon that only accepts events, and one that also sends them (shown without a bar)."""
    with double(setup.sizes.latency) as slack, child("constant") as constant:
        for database in setup.databases:
            with ExitStack() as opened:
                url = opened.enter_context(database.fresh())
                store = Store(url)
                opened.callback(store.close)
                token = developer_token(store)
                more = {"ALERTCTL_SENDERS": str(setup.sizes.senders)}
                taking = opened.enter_context(daemon(settings(slack, url, **more), "--no-scheduler"))
                yield from _lines(setup, database, taking, constant.hello["url"], token)
                sending = opened.enter_context(daemon(settings(slack, url, **more)))
                yield _while_sending(setup, database, sending, token)


def _lines(setup: Setup, database: Database, ours: Daemon, constant: str, token: str) -> Iterator[Line]:
    sizes = setup.sizes
    rates, tails, costs = [], [], []
    for url, path in ((ours.url, PATH), (constant, "/events")):
        load(url, path, token, BODY, sizes.connections, WARM)
    for number in range(sizes.rounds):
        setup.report(f"accept on {database.name}, round {number + 1} of {sizes.rounds}")
        before = ours.cpu
        result = load(ours.url, PATH, token, BODY, sizes.connections, sizes.requests)
        costs.append((ours.cpu - before) * 1e6 / sizes.requests)
        yardstick = load(constant, "/events", token, BODY, sizes.connections, sizes.requests)
        rates.append((result["rate"], yardstick["rate"]))
        tails.append((1000 * result["p99"], 1000 * result["p50"]))
    what = f"accepted over HTTP, durable, {sizes.connections} connections"
    note = f"{sorted(costs)[len(costs) // 2]:.0f} us of the daemon's CPU each"
    yield compared("accept", what, database.name, "/s", rates, "FastAPI, a constant", RATE, note=note)
    yield compared("accept", "the same, p99", database.name, "ms", tails, "its p50", TAIL)


def _while_sending(setup: Setup, database: Database, ours: Daemon, token: str) -> Line:
    load(ours.url, PATH, token, BODY, setup.sizes.connections, WARM)
    result = load(ours.url, PATH, token, BODY, setup.sizes.connections, setup.sizes.requests // 4)
    note = f"p50 {1000 * result['p50']:.0f} ms, p99 {1000 * result['p99']:.0f} ms"
    what = "the same while it also sends"
    return Line(row="accept", what=what, database=database.name, value=result["rate"], unit="/s", note=note)
