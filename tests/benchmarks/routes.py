"""The cost of 200 routes for an event that none of them matches: every route is tried."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

from alertctl.publish import prepare
from alertctl.routing import RoutingRules, decide, parse_routes
from alertctl.schemas import PublishRequest
from tests.benchmarks.lines import Bar, Line
from tests.benchmarks.setup import ALERT, RULES, Setup

ROUTES = 200
DECISIONS = 500
COST = Bar(at_most=100, unit="us more")


def routes(setup: Setup) -> Iterator[Line]:
    """Decide about an event with 200 routes, and without any. No database is used."""
    tables = [
        {
            "name": f"team-{number}",
            "match": {
                "event_type": ["safety_rollback", "rollout_advance"],
                "severity": ">=warning",
                "environment": "prod*",
                "feature_flag": [f"checkout-v{number + 10}", f"*-team-{number}"],
                "labels.team": "payments",
            },
            "to": [f"slack:#team-{number}"],
        }
        for number in range(ROUTES)
    ]
    parsed = parse_routes(tables)
    assert not parsed.problems
    rules = replace(RULES, routes=parsed)
    with_routes = [_microseconds(rules) for _ in range(setup.sizes.rounds)]
    without = [_microseconds(RULES) for _ in range(setup.sizes.rounds)]
    yield Line(
        row="routes",
        what=f"{ROUTES} routes that are all tried, for each event",
        database="-",
        value=statistics.median(with_routes),
        unit="us",
        yardstick=statistics.median(without),
        against="no routes",
        by="more",
        bar=COST,
        rounds=setup.sizes.rounds,
        values=with_routes,
        yardsticks=without,
    )


def _microseconds(rules: RoutingRules) -> float:
    """Return the CPU time of one event's decisions."""
    request = PublishRequest(event_type="safety_rollback", fields=ALERT, labels={"team": "payments"})
    publication = prepare(request, rules)
    began = time.process_time()
    for _ in range(DECISIONS):
        addresses = [item.target.address for item in decide(publication, rules, ())]
    elapsed = time.process_time() - began
    assert addresses == ["#platform-alerts"]
    return 1e6 * elapsed / DECISIONS
