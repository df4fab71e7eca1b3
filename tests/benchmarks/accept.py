"""Accepted alerts a second over HTTP, durable, beside FastAPI that validates the same body and answers a constant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from alertctl.db import Store
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.places import Place
from tests.benchmarks.processes import Daemon, child, daemon, double, load
from tests.benchmarks.stage import BODY, PATH, Stage, developer_token, settings

RATE = Bar(at_least=0.25)
TAIL = Bar(at_most=10)
WARM = 500


def accept(stage: Stage) -> Iterator[Line]:
    """A daemon that only takes events, and one that also sends them to a Slack that takes 50 ms (told, not judged)."""
    with double(stage.sizes.latency) as slack, child("constant") as constant:
        for place in stage.places:
            with ExitStack() as opened:
                url = opened.enter_context(place.fresh())
                store = Store(url)
                opened.callback(store.close)
                token = developer_token(store)
                more = {"ALERTCTL_SENDERS": str(stage.sizes.senders)}
                taking = opened.enter_context(daemon(settings(slack, url, **more), "--no-scheduler"))
                yield from _lines(stage, place, taking, constant.hello["url"], token)
                sending = opened.enter_context(daemon(settings(slack, url, **more)))
                yield _while_sending(stage, place, sending, token)


def _lines(stage: Stage, place: Place, ours: Daemon, constant: str, token: str) -> Iterator[Line]:
    sizes = stage.sizes
    rates, tails, costs = [], [], []
    for url, path in ((ours.url, PATH), (constant, "/events")):
        load(url, path, token, BODY, sizes.connections, WARM)
    for number in range(sizes.rounds):
        stage.say(f"accept on {place.name}, round {number + 1} of {sizes.rounds}")
        before = ours.cpu
        found = load(ours.url, PATH, token, BODY, sizes.connections, sizes.requests)
        costs.append((ours.cpu - before) * 1e6 / sizes.requests)
        yardstick = load(constant, "/events", token, BODY, sizes.connections, sizes.requests)
        rates.append((found["rate"], yardstick["rate"]))
        tails.append((1000 * found["p99"], 1000 * found["p50"]))
    what = f"accepted over HTTP, durable, {sizes.connections} connections"
    note = f"{sorted(costs)[len(costs) // 2]:.0f} us of the daemon's CPU each"
    yield compared("accept", what, place.name, "/s", rates, "FastAPI, a constant", RATE, note=note)
    yield compared("accept", "the same, p99", place.name, "ms", tails, "its p50", TAIL)


def _while_sending(stage: Stage, place: Place, ours: Daemon, token: str) -> Line:
    load(ours.url, PATH, token, BODY, stage.sizes.connections, WARM)
    found = load(ours.url, PATH, token, BODY, stage.sizes.connections, stage.sizes.requests // 4)
    note = f"p50 {1000 * found['p50']:.0f} ms, p99 {1000 * found['p99']:.0f} ms"
    what = "the same while it also sends"
    return Line(row="accept", what=what, database=place.name, value=found["rate"], unit="/s", note=note)
