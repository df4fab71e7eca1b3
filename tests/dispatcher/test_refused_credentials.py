"""A provider that refuses our credentials: deliveries wait, another process sends them, or they expire."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from alertctl import delivery_log, outbox
from alertctl.channels import build
from alertctl.connectivity_test import send_test_message
from alertctl.db import Writer
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import Unreachable
from alertctl.outbox.tables import attempt, breaker_report, delivery
from alertctl.routing import routing_rules_of
from tests.support.deliveries import (
    announce,
    attempts,
    close_channels,
    row,
    rows,
    settings_for,
    statuses,
    wall_clock,
)
from tests.support.waiting import wait_until

WRONG = {"SLACK_BOT_TOKEN": "xoxb-wrong"}


@pytest.fixture
def dispatcher_of(sandbox, database_url):
    @contextmanager
    def started(connect, clock, **settings):
        chosen = settings_for(sandbox, database_url, **settings)
        channels = build(chosen)
        try:
            yield Dispatcher(connect, channels, DispatchOptions.of(chosen), clock)
        finally:
            close_channels(channels.values())

    return started


@pytest.fixture
def daemon(store, dispatcher_of):
    @contextmanager
    def started(**settings):
        writer = Writer(store)
        with dispatcher_of(writer, wall_clock, **settings) as dispatcher:
            dispatcher.start()
            try:
                yield dispatcher
            finally:
                dispatcher.stop(15)
                writer.close()

    return started


@pytest.fixture
def sandbox_calls(sandbox):
    return lambda: len(sandbox.slack.calls)


def critical(store, count, now):
    for number in range(count):
        announce(store, f"slack:#critical-{number}", event_type="safety_rollback", now=now)


def test_a_refused_delivery_waits_due_at_once_and_uncounted(store, dispatcher_of, clock):
    announce(store, "slack:#a", now=clock())
    queued = row(store).next_attempt_at
    with dispatcher_of(store, clock, **WRONG) as dispatcher:
        dispatcher.run_once()
    waiting = row(store)
    assert (waiting.status, waiting.error, waiting.reason) == ("failed", "invalid_auth", "config")
    assert (waiting.next_attempt_at, waiting.schedule_step) == (queued, 0)
    assert [entry.reason for entry in attempts(store, waiting.id)] == ["config"]


@pytest.mark.postgres
def test_another_process_with_good_credentials_delivers_it_and_is_not_held_up(store, sandbox, dispatcher_of, clock):
    announce(store, "slack:#a", now=clock())
    with dispatcher_of(store, clock, **WRONG) as dispatcher:
        dispatcher.run_once()
    announce(store, "slack:#b", event_type="safety_rollback", now=clock())
    with dispatcher_of(store, clock) as dispatcher:
        assert dispatcher.run_once().success == 2
    assert [message.channel for message in sandbox.slack.messages] == ["#b", "#a"]


def test_claimed_deliveries_are_released_unchanged_when_the_breaker_opens(store, dispatcher_of, clock, sandbox_calls):
    announce(store, *(f"slack:#channel-{number}" for number in range(200)), now=clock())
    with dispatcher_of(store, clock, **WRONG) as dispatcher:
        dispatcher.run_once()
    assert sandbox_calls() <= 3
    tried = sum(len(attempts(store, entry.id)) for entry in rows(store))
    assert tried == sandbox_calls()
    assert statuses(store) == {"failed": tried, "pending": 200 - tried}


@pytest.mark.postgres
def test_two_daemons_one_with_a_wrong_token_deliver_everything(store, sandbox, daemon):
    with daemon(**WRONG) as bad, daemon() as good:
        for number in range(100):
            announce(store, f"slack:#critical-{number}", event_type="safety_rollback", now=wall_clock())
            bad.wake()
        good.wake()
        wait_until(lambda: statuses(store) == {"success": 100})
    assert len({message.channel for message in sandbox.slack.messages}) == len(sandbox.slack.messages) == 100


def test_a_restart_with_a_good_token_sends_what_waited_the_critical_ones_first(store, sandbox, daemon):
    with daemon(**WRONG) as bad:
        announce(store, *(f"slack:#normal-{number}" for number in range(10)), now=wall_clock())
        critical(store, 10, wall_clock())
        bad.wake()
        wait_until(lambda: len(rows(store, status="failed")) > 0)
        assert {entry.next_attempt_at is None for entry in rows(store)} == {False}
    with daemon(ALERTCTL_SENDERS="1"):
        wait_until(lambda: statuses(store) == {"success": 20})
    order = [message.channel.split("-")[0] for message in sandbox.slack.messages]
    # The last critical ones may still be in flight, on threads of their own, when the first normal one is sent.
    assert set(order[:7]) == {"#critical"}


def test_a_daemon_reports_its_open_breaker_and_takes_the_report_back(store, daemon):
    with daemon(**WRONG) as bad:
        announce(store, "slack:#a", now=wall_clock())
        bad.wake()
        wait_until(lambda: len(rows(store, breaker_report)) == 1)
        with store.reading() as connection:
            (pause,) = delivery_log.queue_status(connection, wall_clock()).paused
        assert (pause.provider, pause.code, pause.breaker) == ("slack", "invalid_auth", True)
        assert pause.until > pause.since
        assert set(bad.paused) == {"slack"}
    assert rows(store, breaker_report) == []


def test_a_command_that_was_refused_reports_nothing(store, dispatcher_of, clock):
    announce(store, "slack:#a", now=clock())
    with dispatcher_of(store, clock, **WRONG) as dispatcher:
        dispatcher.run_once()
    assert rows(store, breaker_report) == []


@pytest.mark.postgres
def test_a_successful_command_lets_a_daemon_probe_at_once(store, sandbox, daemon, dispatcher_of, sandbox_calls):
    sandbox.slack.auth_error = "token_revoked"
    with daemon() as refused:
        announce(store, "slack:#waits", now=wall_clock())
        refused.wake()
        wait_until(lambda: len(rows(store, breaker_report)) == 1)
        sandbox.slack.auth_error = None
        event_id = announce(store, "email:somebody@corp.example", "slack:#command", now=wall_clock())
        with dispatcher_of(store, wall_clock) as command:
            command.run_once(event_id)
        wait_until(lambda: statuses(store) == {"success": 3})
        assert refused.paused == {}


def test_a_resend_lets_a_daemon_probe_at_once(store, sandbox, daemon):
    sandbox.slack.auth_error = "token_revoked"
    with daemon() as refused:
        announce(store, "slack:#waits", now=wall_clock())
        refused.wake()
        wait_until(lambda: len(rows(store, breaker_report)) == 1)
        sandbox.slack.auth_error = None
        store.write(lambda connection: outbox.resend(connection, [row(store).id], "dev", wall_clock()))
        wait_until(lambda: statuses(store) == {"success": 1})


def test_a_test_calls_the_provider_behind_an_open_breaker(
    store, sandbox, daemon, dispatcher_of, database_url, sandbox_calls
):
    sandbox.slack.auth_error = "token_revoked"
    rules = routing_rules_of(settings_for(sandbox, database_url))

    def test_through(dispatcher):
        return send_test_message(store, store, dispatcher, rules, "slack", "#test", "dev", wall_clock, 5.0)

    with daemon() as refused:
        announce(store, "slack:#waits", now=wall_clock())
        refused.wake()
        wait_until(lambda: len(rows(store, breaker_report)) == 1)
        calls = sandbox_calls()
        assert test_through(refused).error == "token_revoked"
        assert sandbox_calls() == calls + 1
        sandbox.slack.auth_error = None
        assert test_through(refused).success
        wait_until(lambda: row(store, address="#waits").status == "success")


def test_a_test_with_a_wrong_token_is_refused_even_beside_a_good_daemon_and_is_tried_once(
    store, sandbox, daemon, dispatcher_of, database_url
):
    rules = routing_rules_of(settings_for(sandbox, database_url))
    with daemon(), dispatcher_of(store, wall_clock, **WRONG) as command:
        result = send_test_message(store, store, command, rules, "slack", "#test", "dev", wall_clock, 5.0)
        assert (result.success, result.error) == (False, "invalid_auth")
        announce(store, "slack:#alert", event_type="safety_rollback", now=wall_clock())
        wait_until(lambda: row(store, address="#alert").status == "success")
    assert [message.channel for message in sandbox.slack.messages] == ["#alert"]
    assert row(store, address="#test").next_attempt_at is None


class Busy:
    """A database whose every write but the first fails for a while."""

    def __init__(self, store, failures):
        self._store, self._failures, self._writes = store, failures, 0

    def write(self, work, *values, **options):
        self._writes += 1
        if 1 < self._writes <= 1 + self._failures:
            raise Unreachable("database is locked")
        return self._store.write(work, *values, **options)


@pytest.mark.postgres
def test_a_result_that_cannot_be_written_is_tried_until_it_can(store, sandbox, dispatcher_of):
    announce(store, "slack:#a", now=wall_clock())
    with dispatcher_of(Busy(store, 3), wall_clock, EMAIL_ENABLED="false") as dispatcher:
        assert dispatcher.run_once().success == 1
    assert len(sandbox.slack.messages) == 1
    assert [entry.outcome for entry in rows(store, attempt)] == ["success"]


def test_a_result_is_not_tried_beyond_its_lease(store, sandbox, dispatcher_of):
    announce(store, "slack:#a", now=wall_clock())
    busy = Busy(store, 1000)
    with (
        dispatcher_of(busy, wall_clock, EMAIL_ENABLED="false", ALERTCTL_LEASE="1s") as dispatcher,
        pytest.raises(Unreachable),
    ):
        dispatcher.run_once()
    assert row(store).status == "sending"


def expire(store, now, paused=None, max_age=3600.0):
    return store.write(lambda connection: outbox.expire(connection, max_age, paused or {}, now))


def refuse(store, dispatcher_of, clock, *to):
    announce(store, *to, now=clock())
    with dispatcher_of(store, clock, **WRONG) as dispatcher:
        dispatcher.run_once()


def test_a_delivery_that_waits_for_an_open_breaker_expires_by_its_age_and_keeps_the_cause(store, dispatcher_of, clock):
    refuse(store, dispatcher_of, clock, "slack:#a")
    opened = clock()
    assert expire(store, clock.advance(3599), {"slack": opened}) == 0
    assert expire(store, clock.advance(1), {"slack": clock()}) == 1
    ended = row(store)
    assert (ended.status, ended.reason, ended.error, ended.next_attempt_at) == (
        "failed",
        "expired",
        "invalid_auth",
        None,
    )


def test_a_delivery_without_an_attempt_expires_only_when_the_breaker_is_as_old(store, clock):
    announce(store, "slack:#a", now=clock())
    now = clock.advance(7200)
    assert expire(store, now) == 0, "no daemon ran: it is tried once, at any age"
    assert expire(store, now, {"slack": now}) == 0
    assert expire(store, now, {"email": clock.advance(-7200)}) == 0
    assert expire(store, now, {"slack": clock()}) == 1


def test_a_delivery_without_an_attempt_is_tried_once_and_then_expires(store, dispatcher_of, clock):
    announce(store, "slack:#a", now=clock())
    clock.advance(100 * 3600)
    with dispatcher_of(store, clock, **WRONG) as dispatcher:
        dispatcher.run_once()
    assert (row(store).reason, row(store).error, row(store).attempts) == ("expired", "invalid_auth", 1)


def test_a_delivery_refused_by_another_process_does_not_expire_behind_a_closed_breaker(store, dispatcher_of, clock):
    refuse(store, dispatcher_of, clock, "slack:#a")
    assert expire(store, clock.advance(7200)) == 0


def test_a_resend_renews_the_age(store, dispatcher_of, clock):
    refuse(store, dispatcher_of, clock, "slack:#a")
    clock.advance(3599)
    store.write(lambda connection: outbox.resend(connection, [row(store).id], "dev", clock()))
    assert expire(store, clock.advance(60), {"slack": clock()}) == 0


def test_a_message_that_is_always_refused_does_not_hold_back_the_others(store, sandbox, daemon):
    sandbox.slack.faults.at("#poison", "slack:missing_scope")
    with daemon() as dispatcher:
        announce(store, "slack:#poison", event_type="safety_rollback", now=wall_clock())
        dispatcher.wake()
        wait_until(lambda: len(rows(store, breaker_report)) == 1)
        announce(store, *(f"slack:#normal-{number}" for number in range(5)), now=wall_clock())
        store.write(outbox.request_probes)
        dispatcher.wake()
        wait_until(lambda: statuses(store)["success"] == 5)
        wait_until(lambda: row(store, address="#poison").attempts == 2)
        wait_until(lambda: row(store, address="#poison").status == "failed")
        assert dispatcher.paused == {}
    waiting = row(store, address="#poison")
    assert (waiting.reason, waiting.next_attempt_at > wall_clock()) == ("config", True)


@pytest.mark.parametrize("latency", [0.0, 1.5])
def test_a_worker_whose_probe_is_due_or_in_flight_does_not_keep_the_database_busy(
    store, sandbox, dispatcher_of, latency
):
    writer = Writer(store)
    sandbox.slack.auth_error = "token_revoked"
    with dispatcher_of(writer, wall_clock, EMAIL_ENABLED="false") as refused:
        refused.start()
        announce(store, "slack:#waits", now=wall_clock())
        refused.wake()
        wait_until(lambda: len(rows(store, breaker_report)) == 1)
        if latency:
            sandbox.slack.latency = latency
        else:
            store.write(lambda connection: connection.execute(delivery.update().values(next_attempt_at=None)))
        store.write(outbox.request_probes)
        refused.wake()
        wait_until(lambda: not latency or len(sandbox.slack.calls) == 2)
        before = writer.commits
        time.sleep(1)
        commits = writer.commits - before
        refused.stop(15)
    writer.close()
    assert commits < 10
