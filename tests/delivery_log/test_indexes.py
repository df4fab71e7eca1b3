"""Reading a long log is cheap: every filter, and every pair of filters, reads little more than a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest

from alertctl import delivery_log
from alertctl.db import Store, upgrade
from alertctl.schemas import LogFilter
from tests.support.deliveries import NOW, announce
from tests.support.generated_log import BUSY, FLAG, FREQUENT, OVER, TEAM, fill
from tests.support.query_costs import costs

ROWS = 20_000
FEWER_ROWS = 18_000
"""Enough to see that a follower reads them: it may read 200."""
CONDITIONS: list[dict[str, Any]] = [
    {"status": "failed"},
    {"status": "success"},
    {"status": "suppressed"},
    {"event_type": "safety_rollback"},
    {"event_type": OVER},
    {"channel": "email"},
    {"to": BUSY},
    {"to": "team-17"},
    {"since": NOW - timedelta(days=9)},
    {"until": NOW - timedelta(days=20)},
    {"error": "token_revoked"},
    {"error": "channel_not_found"},
    {"user": "user-8"},
    {"retrying": True},
    {"final": True},
]
PAIRS = [first | second for first, second in combinations(CONDITIONS, 2) if not set(first) & set(second)]
FLAGS = [{"flag": FLAG} | condition for condition in ({}, *CONDITIONS)]
LABELS = [{"labels": TEAM} | condition for condition in ({}, {"flag": FLAG}, {"labels": TEAM | FREQUENT}, *CONDITIONS)]
LABELS.append({"labels": FREQUENT})
MOST_ROWS = 1_333
"""Rows that Postgres may read for a page and its total, of 20 000."""
MOST_STEPS = 20_000
"""Steps of SQLite's virtual machine for the same; it makes more than 10 for each row that it passes over."""
MOST_OF_A_SUBJECT = 66_000
"""The same for the 2 000 deliveries of one flag or label, which are looked up event by event: a few tens for each."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def long_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A log of 20 000 deliveries, which no test changes."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('log') / 'alertctl.db'}"
        else:
            url = stack.enter_context(request.getfixturevalue("postgres_server").database())
        store = Store(url)
        stack.callback(store.close)
        upgrade(store)
        fill(store, ROWS, NOW)
        yield store


def test_every_page_of_a_long_log_is_cheap(long_log):
    most = MOST_STEPS if long_log.is_sqlite else MOST_ROWS
    too_expensive = {}
    with long_log.reading() as connection:
        for asked in [{}, *CONDITIONS, *PAIRS, *FLAGS, *LABELS]:
            with costs(long_log, connection) as read:
                page = delivery_log.page(connection, LogFilter(**asked), limit=20, count=False)
            if read[0] > (MOST_OF_A_SUBJECT if {"flag", "labels"} & set(asked) else most):
                too_expensive[str(asked)] = (read[0], len(page.items))
    assert too_expensive == {}, "".join(f"\n{exceeded}" for exceeded in too_expensive.items())


def test_any_depth_costs_the_same_by_cursor(long_log):
    with long_log.reading() as connection:
        read_counts = []
        newest = delivery_log.page(connection, LogFilter(), limit=20)
        deep = delivery_log.page(connection, LogFilter(until=NOW - timedelta(days=29)), limit=20)
        for cursor in (newest.next_cursor, deep.next_cursor):
            with costs(long_log, connection) as read:
                assert len(delivery_log.page(connection, LogFilter(), limit=20, cursor=cursor, count=False).items) == 20
            read_counts.append(read[0])
    assert read_counts[1] <= read_counts[0] * 1.5
    assert read_counts[0] > 0


def test_the_total_is_counted_without_reading_the_log(long_log):
    with long_log.reading() as connection:
        for where in (LogFilter(), LogFilter(status="failed"), LogFilter(event_type=OVER, channel="email")):
            total = delivery_log.page(connection, where, limit=20).total
            with costs(long_log, connection) as read:
                delivery_log.page(connection, where, limit=20)
            assert total > 500
            assert read[0] < (2_000 if long_log.is_sqlite else 100)


def test_a_total_goes_along_what_leaves_the_fewest_rows(long_log):
    with long_log.reading() as connection:
        for asked, most in (({"status": "success", "flag": "none"}, 333), ({"retrying": True}, 3_333)):
            with costs(long_log, connection) as read:
                delivery_log.page(connection, LogFilter(**asked), limit=1)
            assert read[0] < most, asked


def test_following_reads_only_the_changes(store):
    fill(store, FEWER_ROWS, NOW)
    with store.reading() as connection:
        position = delivery_log.position(connection)
    announce(store, "slack:#new")
    for where in (LogFilter(), LogFilter(flag=FLAG), LogFilter(labels=TEAM), LogFilter(labels=FREQUENT)):
        with store.reading() as connection, costs(store, connection) as read:
            delivery_log.changes(connection, where, position)
        assert read[0] < 300, where
