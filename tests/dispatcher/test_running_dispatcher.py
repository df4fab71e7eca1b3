"""A running dispatcher: wake-ups, rate limits, lost leases, and the stop."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy import select

from alertctl.dispatcher.rate_limit import RateLimiter
from alertctl.outbox.tables import attempt
from tests.support.deliveries import (
    announce,
    claim,
    dispatching,
    row,
    rows,
    settings_for,
    statuses,
    wall_clock,
)
from tests.support.waiting import wait_until


def test_a_burst_goes_at_once_and_the_rest_waits_for_its_turn_uncounted(store, sandbox, daemon, clock):
    for _ in range(10):
        announce(store, "slack:#busy", now=clock())
    with daemon(clock, SLACK_PER_SECOND="1", SLACK_BURST="3"):
        sandbox.slack.wait_for(3)
        wait_until(lambda: len(rows(store, status="success")) == 3)
    assert len(sandbox.slack.messages) == 3
    waiting = rows(store, status="pending")
    turns = sorted((entry.next_attempt_at - clock()).total_seconds() for entry in waiting)
    assert [entry.attempts for entry in waiting] == [0] * 7
    assert all(0 < turn < 8 for turn in turns)
    assert all(0.9 < later - earlier < 1.1 for earlier, later in pairwise(turns))


def test_a_delivery_slightly_before_its_turn_keeps_the_turn(store, clock):
    announce(store, "slack:#busy", "slack:#other", now=clock())
    first, waiting = sorted(claim(store, now=clock()).taken, key=lambda entry: entry.address)
    pace = RateLimiter(per_second=1, burst=1)
    assert pace.wait(first) == 0
    waiting = replace(waiting, address_key=first.address_key)
    assert 0.9 < pace.wait(waiting) < 1
    assert 0.9 < pace.wait(waiting) < 1


def test_a_fresh_critical_alert_does_not_wait_for_its_channels_turn(store, sandbox, daemon, clock):
    for _ in range(4):
        announce(store, "slack:#busy", now=clock())
    announce(store, "slack:#busy", event_type="safety_rollback", now=clock())
    with daemon(clock, SLACK_PER_SECOND="0.01", SLACK_BURST="1"):
        sandbox.slack.wait_for(1)
        wait_until(lambda: len(rows(store, status="success")) == 1)
    assert row(store, status="success").event_type == "safety_rollback"


@pytest.mark.postgres
def test_a_daemon_sends_what_it_is_woken_for(store, sandbox, daemon):
    with daemon() as dispatcher:
        announce(store, "slack:#a", now=wall_clock())
        dispatcher.wake()
        sandbox.slack.wait_for(1)
        assert dispatcher.alive
    assert row(store).status == "success"
    assert not dispatcher.alive


def test_a_daemon_finds_due_deliveries_without_a_notification(store, sandbox, daemon):
    with daemon(RETRY_SCHEDULE="0.2s 0.2s"):
        announce(store, "slack:#flaky", "email:flaky@corp.example", now=wall_clock())
        sandbox.slack.wait_for(1)
        sandbox.smtp.wait_for(1)
    assert statuses(store) == {"success": 2}


@pytest.mark.postgres
def test_a_daemon_that_stops_gives_back_uncounted_what_it_has_not_begun(store, sandbox, daemon):
    sandbox.slack.latency = 0.3
    for number in range(8):
        announce(store, f"slack:#channel-{number}", now=wall_clock())
    with daemon(ALERTCTL_SENDERS="2"):
        wait_until(lambda: len(sandbox.slack.calls) >= 3)
    arrived = {message.channel for message in sandbox.slack.messages}
    assert {entry.address for entry in rows(store, status="success")} == arrived
    back = [entry for entry in rows(store) if entry.address not in arrived]
    assert back
    assert {(entry.status, entry.attempts, entry.ambiguous) for entry in back} == {("pending", 0, False)}
    with store.reading() as connection:
        still_open = connection.execute(select(attempt).where(attempt.c.outcome.is_(None))).all()
    assert still_open == []


def test_stopping_twice_or_without_a_start_does_no_harm(store, sandbox, database_url):
    with dispatching(store, settings_for(sandbox, database_url), wall_clock) as dispatcher:
        dispatcher.stop(1)
        dispatcher.start()
        dispatcher.stop(5)
        dispatcher.stop(5)


def test_a_slow_provider_does_not_hold_up_the_other(store, sandbox, daemon):
    sandbox.smtp.latency = 1.0
    for number in range(20):
        announce(store, f"slack:#channel-{number}", f"email:a{number}@corp.example", now=wall_clock())
    with daemon(ALERTCTL_SENDERS="4") as dispatcher:
        sandbox.slack.wait_for(20)
        assert len(sandbox.smtp.messages) < 20
        sandbox.smtp.latency = 0
        dispatcher.wake()
        sandbox.smtp.wait_for(20)


def test_a_critical_alert_overtakes_stalled_senders(store, sandbox, daemon):
    announce(store, "slack:#works", now=wall_clock())
    with daemon(ALERTCTL_SENDERS="2", ALERTCTL_DEADLINE="60s") as dispatcher:
        sandbox.slack.wait_for(1)
        sandbox.slack.faults.always("stall")
        sandbox.slack.faults.at("#critical", "ok")
        for number in range(12):
            announce(store, f"slack:#channel-{number}", now=wall_clock())
        dispatcher.wake()
        wait_until(lambda: len(rows(store, status="sending")) >= 4)
        announce(store, "slack:#critical", event_type="safety_rollback", now=wall_clock())
        dispatcher.wake()
        assert sandbox.slack.wait_for(2)[-1].channel == "#critical"
        # Ends the stalled calls, so that stopping needn't wait for their deadline.
        sandbox.close()


@pytest.mark.postgres
def test_two_dispatchers_on_one_database_share_the_work(store, sandbox, database_url, daemon):
    announce(store, *(f"slack:#channel-{number}" for number in range(100)), now=wall_clock())
    with daemon(), daemon():
        sandbox.slack.wait_for(100)
        wait_until(lambda: statuses(store) == {"success": 100})
    assert set(Counter(message.channel for message in sandbox.slack.messages).values()) == {1}
