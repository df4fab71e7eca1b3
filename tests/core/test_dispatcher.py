"""From a due delivery to its verdict, through real channels to a real (local) Slack and mail server."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from alertctl import outbox
from alertctl.dispatcher import Dispatcher, Policy, Tally
from alertctl.errors import Unreachable
from alertctl.outbox.rows import attempt, delivery
from alertctl.store import Store, Writer
from core.lab import announce, attempts, dispatching, row, rows, settings_for


def wall_clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def run(store, sandbox, database_url, clock):
    """Send what is due by the standing clock, with these settings."""

    def once(event_id=None, **settings) -> Tally:
        with dispatching(store, settings_for(sandbox, database_url, **settings), clock) as dispatcher:
            return dispatcher.run_once(event_id)

    return once


@pytest.fixture
def daemon(store, sandbox, database_url):
    """A dispatcher that has been started, as a daemon starts it: on one writer."""

    @contextmanager
    def started(clock=wall_clock, **settings):
        writer = Writer(store)
        with dispatching(writer, settings_for(sandbox, database_url, **settings), clock) as dispatcher:
            dispatcher.start()
            try:
                yield dispatcher
            finally:
                dispatcher.stop(15)
                writer.close()

    return started


def statuses(store) -> Counter:
    return Counter(one.status for one in rows(store))


def wait_until(condition, seconds=10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_what_is_due_is_sent_and_logged(store, sandbox, run, clock):
    announce(store, "slack:#a", "email:a@corp.example", now=clock())
    assert run() == Tally(attempted=2, success=2)
    (message,), (mail,) = sandbox.slack.messages, sandbox.smtp.messages
    assert (message.channel, mail.rcpt_tos) == ("#a", ["a@corp.example"])
    assert row(store, channel="slack").provider_id == message.ts
    assert [one.outcome for one in rows(store, attempt)] == ["success", "success"]


def test_nothing_due_is_nothing_done(sandbox, run):
    assert run() == Tally()
    assert sandbox.slack.calls == []


def test_a_provider_that_is_away_for_a_moment_is_asked_again(store, sandbox, run, clock):
    announce(store, "slack:#flaky", now=clock())
    assert run() == Tally(attempted=1, retrying=1)
    assert run() == Tally(), "not before its time"
    clock.advance(2)
    assert run() == Tally(attempted=1, success=1)
    assert len(sandbox.slack.messages) == 1
    assert [one.outcome for one in attempts(store, row(store).id)] == ["failed", "success"]


def test_a_channel_that_is_missing_is_final_and_named(store, sandbox, run, clock):
    announce(store, "slack:#missing", now=clock())
    assert run() == Tally(attempted=1, failed=1)
    failed = row(store)
    assert (failed.error, failed.next_attempt_at) == ("channel_not_found", None)
    assert len(sandbox.slack.calls) == 1


@pytest.mark.parametrize(("address", "final"), [("missing@corp.example", True), ("full@corp.example", False)])
def test_a_mail_servers_verdict_decides_too(store, run, clock, address, final):
    announce(store, f"email:{address}", now=clock())
    run()
    assert (row(store).status, row(store).next_attempt_at is None) == ("failed", final)


def test_a_rejected_message_goes_once_more_as_plain_text(store, sandbox, run, clock):
    sandbox.slack.faults.then("slack:invalid_blocks")
    announce(store, "slack:#a", now=clock())
    assert run() == Tally(attempted=2, success=1, retrying=1)
    (message,) = sandbox.slack.messages
    assert message.blocks == []
    assert "Disk almost full" in message.text


def test_a_message_rejected_twice_is_final(store, sandbox, run, clock):
    sandbox.slack.faults.always("slack:invalid_blocks")
    announce(store, "slack:#a", now=clock())
    assert run() == Tally(attempted=2, retrying=1, failed=1)
    assert len(sandbox.slack.calls) == 2


def test_a_rate_limit_pauses_that_address_only(store, sandbox, run, clock):
    sandbox.slack.faults.at("#busy", "429:30")
    for address in ("#busy", "#busy", "#calm"):
        announce(store, f"slack:{address}", now=clock())
    run()
    assert [one.channel for one in sandbox.slack.messages] == ["#calm"]
    assert len(sandbox.slack.calls) == 2
    sandbox.slack.faults.clear()
    clock.advance(29)
    assert run() == Tally()
    clock.advance(2)
    assert run().success == 2


def test_one_event_can_be_sent_alone_and_unpaced(store, sandbox, run, clock):
    announce(store, "slack:#other", now=clock())
    wanted = announce(store, "slack:#mine", now=clock())
    assert run(wanted, SLACK_PER_SECOND="0.001", SLACK_BURST="1") == Tally(attempted=1, success=1)
    assert [one.channel for one in sandbox.slack.messages] == ["#mine"]


def test_a_burst_goes_at_once_and_the_rest_waits_for_its_turn_uncounted(store, sandbox, daemon, clock):
    for _ in range(10):
        announce(store, "slack:#busy", now=clock())
    with daemon(clock, SLACK_PER_SECOND="1", SLACK_BURST="3"):
        sandbox.slack.wait_for(3)
        wait_until(lambda: len(rows(store, status="success")) == 3)
    assert len(sandbox.slack.messages) == 3
    waiting = rows(store, status="pending")
    turns = sorted((one.next_attempt_at - clock()).total_seconds() for one in waiting)
    assert [one.attempts for one in waiting] == [0] * 7
    assert all(0 < turn < 8 for turn in turns)
    assert all(0.9 < later - earlier < 1.1 for earlier, later in zip(turns, turns[1:], strict=False))


def test_a_paced_channel_gets_all_its_messages_in_the_end(store, sandbox, database_url):
    for _ in range(8):
        announce(store, "slack:#busy", now=wall_clock())
    settings = settings_for(sandbox, database_url, SLACK_PER_SECOND="20", SLACK_BURST="2")
    with dispatching(store, settings, wall_clock) as dispatcher:
        assert dispatcher.run_once() == Tally(attempted=8, success=8)


def test_a_fresh_critical_alert_does_not_wait_for_its_channels_turn(store, sandbox, daemon, clock):
    for _ in range(4):
        announce(store, "slack:#busy", now=clock())
    announce(store, "slack:#busy", event_type="safety_rollback", now=clock())
    with daemon(clock, SLACK_PER_SECOND="0.01", SLACK_BURST="1"):
        sandbox.slack.wait_for(1)
        wait_until(lambda: len(rows(store, status="success")) == 1)
    assert row(store, status="success").event_type == "safety_rollback"


def test_a_daemon_sends_what_it_is_woken_for(store, sandbox, daemon):
    with daemon() as dispatcher:
        announce(store, "slack:#a", now=wall_clock())
        dispatcher.wake()
        sandbox.slack.wait_for(1)
        assert dispatcher.alive
    assert row(store).status == "success"
    assert not dispatcher.alive


def test_a_daemon_finds_by_itself_what_falls_due(store, sandbox, daemon):
    with daemon(RETRY_SCHEDULE="0.2s 0.2s"):
        announce(store, "slack:#flaky", "email:flaky@corp.example", now=wall_clock())
        sandbox.slack.wait_for(1)
        sandbox.smtp.wait_for(1)
    assert statuses(store) == {"success": 2}


def test_a_daemon_that_stops_gives_back_uncounted_what_it_has_not_begun(store, sandbox, daemon):
    sandbox.slack.latency = 0.3
    for number in range(8):
        announce(store, f"slack:#channel-{number}", now=wall_clock())
    with daemon(ALERTCTL_SENDERS="2"):
        wait_until(lambda: len(sandbox.slack.calls) >= 3)
    arrived = {message.channel for message in sandbox.slack.messages}
    assert {one.address for one in rows(store, status="success")} == arrived
    back = [one for one in rows(store) if one.address not in arrived]
    assert back
    assert {(one.status, one.attempts, one.ambiguous) for one in back} == {("pending", 0, False)}
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


def test_a_revoked_token_costs_three_calls_at_most_for_a_thousand_that_wait(store, sandbox, run, clock):
    for _ in range(10):
        announce(store, *(f"slack:#channel-{number}" for number in range(100)), now=clock())
    sandbox.slack.auth_error = "token_revoked"
    run()
    assert len(sandbox.slack.calls) <= 3
    assert {(one.status, one.error, one.next_attempt_at) for one in rows(store)} == {("failed", "token_revoked", None)}


def test_after_the_repair_a_resend_sends_them_all(store, sandbox, run, clock):
    announce(store, *(f"slack:#channel-{number}" for number in range(60)), now=clock())
    sandbox.slack.auth_error = "token_revoked"
    run()
    sandbox.slack.auth_error = None
    ids = [one.id for one in rows(store)]
    store.write(lambda connection: outbox.resend(connection, ids, "dev", clock.advance(1)))
    assert run() == Tally(attempted=60, success=60)
    assert statuses(store) == {"success": 60}


def test_a_slow_probe_does_not_cost_the_others_their_turn(store, sandbox, daemon, clock):
    announce(store, *(f"slack:#channel-{number}" for number in range(5)), now=clock())
    sandbox.slack.auth_error = "token_revoked"
    with daemon(clock):
        wait_until(lambda: statuses(store)["failed"] == 5)
    sandbox.slack.auth_error = None
    sandbox.slack.latency = 1.3
    ids = [one.id for one in rows(store)]
    store.write(lambda connection: outbox.resend(connection, ids, "dev", clock.advance(1)))
    with daemon(clock) as dispatcher:
        wait_until(lambda: len(sandbox.slack.calls) == 2)
        dispatcher.wake()
        sandbox.slack.latency = 0
        sandbox.slack.wait_for(5)
    assert statuses(store) == {"success": 5}


def test_with_half_the_calls_refused_everything_arrives_once(store, sandbox, run, clock):
    sandbox.slack.faults.sometimes("http_503", 0.5, seed=1)
    for start in range(0, 200, 20):
        announce(store, *(f"slack:#channel-{number}" for number in range(start, start + 20)), now=clock())
    for _ in range(20):
        run(RETRY_SCHEDULE=" ".join(["1s"] * 20))
        clock.advance(2)
    assert statuses(store) == {"success": 200}
    assert set(Counter(message.channel for message in sandbox.slack.messages).values()) == {1}


def test_sendgrid_carries_one_event_to_many_in_few_requests(store, sandbox, database_url, clock):
    announce(store, *(f"email:user-{number}@corp.example" for number in range(300)), now=clock())
    settings = settings_for(sandbox, database_url, **sandbox.settings(email="sendgrid"))
    with dispatching(store, settings, clock) as dispatcher:
        assert dispatcher.run_once().success == 300
    assert len({message.to for message in sandbox.sendgrid.messages}) == 300
    assert len(sandbox.sendgrid.calls) <= 5


class Broken:
    """A channel with a mistake in it."""

    name, provider, batch_size, deadline = "slack", "slack", 1, 1.0

    def send(self, content, parcels):
        raise ZeroDivisionError

    def close(self):
        pass


def test_a_mistake_in_a_channel_ends_as_an_ambiguous_failure(store, clock, caplog):
    announce(store, "slack:#a", now=clock())
    policy = Policy((5.0,), 30.0, 2, 0.0, 1)
    assert Dispatcher(store, {"slack": Broken()}, policy, clock).run_once() == Tally(attempted=1, retrying=1)
    assert (row(store).error, row(store).ambiguous) == ("internal_error", True)
    assert "ZeroDivisionError" in caplog.text


def test_a_database_that_is_away_is_said_once_and_not_swallowed(sandbox, database_url, clock):
    away = Store("postgresql+psycopg://alert@127.0.0.1:1/alerts")
    with dispatching(away, settings_for(sandbox, database_url), clock) as dispatcher, pytest.raises(Unreachable):
        dispatcher.run_once()
    away.close()


def test_two_dispatchers_on_one_database_share_the_work(store, sandbox, database_url, daemon):
    announce(store, *(f"slack:#channel-{number}" for number in range(100)), now=wall_clock())
    with daemon(), daemon():
        sandbox.slack.wait_for(100)
        wait_until(lambda: statuses(store) == {"success": 100})
    assert set(Counter(message.channel for message in sandbox.slack.messages).values()) == {1}


def test_an_observer_hears_of_every_attempt(store, sandbox, database_url, clock):
    from alertctl.channels import build

    announce(store, "slack:#a", "slack:#missing", now=clock())
    heard = []
    settings = settings_for(sandbox, database_url)
    channels = build(settings)

    def observe(lane, ended) -> None:
        heard.extend((lane.provider, one) for one in ended)

    Dispatcher(store, channels, Policy.of(settings), clock, observe).run_once()
    for channel in channels.values():
        channel.close()
    assert [provider for provider, _ in heard] == ["slack", "slack"]
    assert {one.claimed.address for _, one in heard} == {"#a", "#missing"}
    assert len(rows(store, delivery)) == 2
