"""One event to very many addresses through SendGrid, beside one request for each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from alertctl.channels import build
from alertctl.channels.base import OutgoingMessage
from alertctl.config import Settings, load
from alertctl.db import Store
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.events import parse
from alertctl.ids import new_id
from alertctl.publish import prepare, publish
from alertctl.routing import parse_target
from alertctl.schemas import PublishRequest
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.processes import Child, double
from tests.benchmarks.setup import RULES, Setup, now, settings

CPU = Bar(at_most=0.05)
REQUESTS = Bar(at_most=12, unit="")
FIELDS = {"experiment": "new-cta", "action": "started"}
SINGLES = 10
"""One request for each is measured with one address in so many."""


def sendgrid(setup: Setup) -> Iterator[Line]:
    """Measure from claim to record, and sending alone: the CPU of this process, which does the daemon's work."""
    with double(0.0) as provider:
        for database in setup.databases:
            with database.fresh() as url, closing(Store(url)) as store:
                chosen = load(email_settings(provider, url), cwd=Path("/"))
                yield from _lines(setup, database, store, chosen, provider)


def email_settings(provider: Child, url: str) -> dict[str, str]:
    return settings(
        provider,
        url,
        SLACK_ENABLED="false",
        EMAIL_ENABLED="true",
        EMAIL_FROM_ADDRESS="alerts@corp.example",
        SENDGRID_API_KEY="SG.benchmark",
        SENDGRID_API_URL=provider.hello["url"],
    )


def _lines(setup: Setup, database: Database, store: Store, chosen: Settings, provider: Child) -> Iterator[Line]:
    count, few = setup.sizes.recipients, max(1, setup.sizes.recipients // SINGLES)
    dispatching, alone, requests = [], [], 0
    for number in range(setup.sizes.rounds):
        setup.report(f"sendgrid on {database.name}, round {number + 1} of {setup.sizes.rounds}")
        provider.ask("reset")
        cost = _measure_dispatch(store, chosen, count, single=False)
        seen = provider.ask("seen")
        if seen["recipients"] != count:
            raise RuntimeError(f"{seen['recipients']} recipients were named for {count} addresses")
        requests = max(requests, len(seen["arrivals"]))
        dispatching.append((cost, _measure_dispatch(store, chosen, few, single=True)))
        alone.append((_measure_sending(chosen, count, 1000), _measure_sending(chosen, few, 1)))
    each = f"one request each ({few} of them)"
    what = f"CPU of 1000 of {count} addresses of one event, sending"
    yield compared("sendgrid", what, database.name, "ms", alone, each, CPU)
    yield compared("sendgrid", "the same with claim and record", database.name, "ms", dispatching, each, None)
    what = f"requests for {count} addresses"
    yield Line(row="sendgrid", what=what, database=database.name, value=requests, unit="", bar=REQUESTS)


def _measure_dispatch(store: Store, chosen: Settings, count: int, *, single: bool) -> float:
    """Return the CPU milliseconds of 1000 deliveries, claimed, sent and recorded."""
    # More targets than a caller may name: those of users' preferences are not limited.
    to = tuple(parse_target(f"email:user{n}@corp.example") for n in range(count))
    publication = replace(prepare(PublishRequest(event_type="experiment_lifecycle", fields=FIELDS), RULES), to=to)
    answer = store.write(lambda connection: publish(connection, publication, now()))
    channels: Any = build(chosen)
    if single:
        channels["email"].batch_size = 1
    before = time.process_time()
    counts = Dispatcher(store, channels, DispatchOptions.of(chosen), now).run_once(answer.event_id)
    spent = time.process_time() - before
    channels["email"].close()
    if counts.success != count:
        raise RuntimeError(f"{counts} for {count} addresses")
    return 1e6 * spent / count


def _measure_sending(chosen: Settings, count: int, together: int) -> float:
    """Return the CPU milliseconds of 1000 addresses, sent by the channel alone."""
    moment = now()
    content = parse("experiment_lifecycle", FIELDS)[0].content(new_id(moment), moment)
    messages = [OutgoingMessage(new_id(moment), f"user{n}@corp.example") for n in range(count)]
    channel = build(chosen)["email"]
    channel.send(content, messages[:1])
    before = time.process_time()
    for start in range(0, count, together):
        channel.send(content, messages[start : start + together])
    spent = time.process_time() - before
    channel.close()
    return 1e6 * spent / count
