"""An idle daemon: from the accepted answer to the first byte at Slack, beside the same send with no database."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from alertctl.channels import build
from alertctl.channels.base import Channel, OutgoingMessage, Receipt
from alertctl.client.local import LocalClient
from alertctl.config import load
from alertctl.db import Store
from alertctl.events import parse
from alertctl.ids import new_id
from alertctl.schemas import PublishRequest
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, percentile
from tests.benchmarks.processes import Child, daemon, double, until
from tests.benchmarks.setup import ALERT, BODY, PATH, Setup, developer_token, settings

HERE = Bar(at_most=20, unit="ms more")
ELSEWHERE = Bar(at_most=25, unit="ms more")
LATENCY = 0.005
"""Seconds: Slack's answer plays no part here."""
TIMEOUT = 10.0
BUDGET = 0.25
"""Seconds for each sample of a line: where nothing wakes a daemon, each takes as long as its poll, and there are
fewer of them."""
Publish = Callable[[], float]
"""Publishes one alert and returns when the answer came (monotonic seconds)."""


def wake(setup: Setup) -> Iterator[Line]:
    """Single alerts to a daemon that has nothing to do, published over HTTP and by another process."""
    for database in setup.databases:
        with ExitStack() as opened:
            url = opened.enter_context(database.fresh())
            slack, yardstick = opened.enter_context(double(LATENCY)), opened.enter_context(double(LATENCY))
            chosen = load(settings(slack, url), cwd=Path("/"))
            store = Store(url)
            opened.callback(store.close)
            ours = opened.enter_context(daemon(settings(slack, url)))
            client = opened.enter_context(LocalClient(chosen))
            bare = build(load(settings(yardstick, url), cwd=Path("/")))["slack"]
            opened.callback(bare.close)
            over_http = _over_http(ours.url, developer_token(store))
            yield _line(setup, database, "same process", HERE, over_http, slack, bare, yardstick)
            by_another = _by_another(client)
            yield _line(setup, database, "another process published", ELSEWHERE, by_another, slack, bare, yardstick)


def _over_http(url: str, token: str) -> Publish:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def publish() -> float:
        connection.request("POST", PATH, BODY, headers)
        reply = connection.getresponse()
        body = reply.read()
        answered = time.monotonic()
        assert reply.status == 202, body
        return answered

    return publish


def _by_another(client: LocalClient) -> Publish:
    """Publish as `alertctl send --queue` does once it has started."""
    request = PublishRequest(event_type="safety_rollback", fields=ALERT, to=["slack:#ops"])

    def publish() -> float:
        client.publish(request)
        return time.monotonic()

    return publish


def _line(
    setup: Setup,
    database: Database,
    who: str,
    bar: Bar,
    publish: Publish,
    slack: Child,
    bare: Channel,
    yardstick: Child,
) -> Line:
    setup.report(f"wake on {database.name}: {who}")
    values: list[float] = []
    yardsticks: list[float] = []
    _time_sample(publish, slack)
    _time_sample(lambda: _send(bare), yardstick)
    began = time.monotonic()
    while len(values) < setup.sizes.samples and time.monotonic() - began < BUDGET * setup.sizes.samples:
        values.append(_time_sample(publish, slack))
        # Not in step with anything that ticks.
        time.sleep(0.03 + 0.001 * (len(values) * 7 % 50))
        yardsticks.append(_time_sample(lambda: _send(bare), yardstick))
    half, half_bare = percentile(values, 0.5), percentile(yardsticks, 0.5)
    return Line(
        row="wake",
        what=f"idle daemon, accepted -> first byte at Slack, p99 ({who})",
        database=database.name,
        value=percentile(values, 0.99),
        unit="ms",
        yardstick=percentile(yardsticks, 0.99),
        against="no database",
        bar=bar,
        by="more",
        note=f"{len(values)} samples; p50 {half:.1f} ms, without a database {half_bare:.1f} ms",
        values=values,
        yardsticks=yardsticks,
    )


def _time_sample(publish: Publish, provider: Child) -> float:
    """Return the milliseconds from the answer to the first byte, negative if the daemon is faster than its answer."""
    provider.ask("reset")
    answered = publish()
    (arrival,) = until(lambda: provider.ask("seen")["arrivals"], TIMEOUT, "the message")
    return float(1000 * (arrival - answered))


def _send(channel: Channel) -> float:
    """Render and post with nothing in between. Returns when it began."""
    began, now = time.monotonic(), datetime.now(UTC)
    content = parse("safety_rollback", ALERT)[0].content(new_id(now), now)
    (result,) = channel.send(content, [OutgoingMessage(new_id(now), "#ops")])
    assert isinstance(result, Receipt), result
    return began
