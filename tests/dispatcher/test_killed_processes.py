"""A daemon that is killed, or sleeps past its lease, loses nothing and sends twice only what it marks as ambiguous."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from alertctl.outbox.tables import attempt
from tests.support.daemon import Daemon
from tests.support.deliveries import announce, dispatching, row, rows, settings_for
from tests.support.waiting import wait_until


def next_hour() -> datetime:
    """A clock on which every lease of today's processes has run out."""
    return datetime.now(UTC) + timedelta(hours=1)


def environment(sandbox, url: str, **more: str) -> dict[str, str]:
    quick = {"DATABASE_URL": url, "RETRY_SCHEDULE": "1s 1s 1s", "EMAIL_ENABLED": "false", "ALERTCTL_SENDERS": "4"}
    return sandbox.settings() | quick | more


def finish(store, sandbox, url: str) -> None:
    """Another daemon takes over and works until nothing is due."""
    sandbox.slack.latency = 0
    with dispatching(store, settings_for(sandbox, url, EMAIL_ENABLED="false"), next_hour) as dispatcher:
        dispatcher.run_once()


def received(sandbox) -> Counter:
    return Counter(message.channel for message in sandbox.slack.messages)


def assert_nothing_lost_and_only_ambiguous_ones_doubled(store, sandbox, addresses) -> None:
    counts, log = received(sandbox), rows(store)
    assert set(counts) == set(addresses)
    assert {entry.status for entry in log} == {"success"}
    doubled = {address for address, count in counts.items() if count > 1}
    assert doubled <= {entry.address for entry in log if entry.ambiguous}
    with store.reading() as connection:
        assert connection.execute(select(attempt).where(attempt.c.outcome.is_(None))).all() == []


@pytest.mark.postgres
def test_killed_at_random_moments_nothing_is_lost(store, sandbox, database_url, long):
    count = 1_000 if long else 150
    addresses = [f"#channel-{number}" for number in range(count)]
    for start in range(0, count, 25):
        announce(store, *(f"slack:{address}" for address in addresses[start : start + 25]), now=datetime.now(UTC))
    sandbox.slack.latency = 0.02
    dice = random.Random(7)
    for _ in range(30 if long else 4):
        before = len(sandbox.slack.calls)
        with closing(Daemon(environment(sandbox, database_url))) as daemon:
            wait_for_calls(sandbox, before + 1)
            time.sleep(dice.uniform(0, 0.05))
            daemon.signal_process(signal.SIGKILL)
    assert any(entry.status == "sending" for entry in rows(store)), "nobody was killed in the middle of something"
    finish(store, sandbox, database_url)
    assert_nothing_lost_and_only_ambiguous_ones_doubled(store, sandbox, addresses)


def test_one_that_sleeps_past_its_lease_changes_nothing_when_it_wakes(store, sandbox, database_url):
    addresses = [f"#channel-{number}" for number in range(30)]
    announce(store, "slack:#first", now=datetime.now(UTC))
    with closing(Daemon(environment(sandbox, database_url, ALERTCTL_LEASE="3s", ALERTCTL_DEADLINE="10s"))) as daemon:
        wait_until(lambda: row(store, address="#first").status == "success")
        sandbox.slack.latency = 2
        announce(store, *(f"slack:{address}" for address in addresses), now=datetime.now(UTC))
        wait_for_calls(sandbox, 4)
        daemon.suspend_between_transactions(store)
        asleep_since = time.monotonic()
        assert any(entry.status == "sending" for entry in rows(store)), (
            "it was to be stopped in the middle of something"
        )
        finish(store, sandbox, database_url)
        before = rows(store)
        time.sleep(max(0.0, 3.1 - (time.monotonic() - asleep_since)))
        daemon.signal_process(signal.SIGCONT)
        time.sleep(0.5)
    assert rows(store) == before
    assert row(store, address="#first").attempts == 1
    assert_nothing_lost_and_only_ambiguous_ones_doubled(store, sandbox, ["#first", *addresses])


def wait_for_calls(sandbox, count: int) -> None:
    wait_until(lambda: len(sandbox.slack.calls) >= count)
