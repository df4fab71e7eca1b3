"""From a due delivery to its result, through real channels to a real (local) Slack and mail server."""

from __future__ import annotations

import errno
from collections import Counter

import pytest

from alertctl.db import Store
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import Unreachable
from alertctl.outbox.tables import attempt, delivery
from tests.support.deliveries import (
    announce,
    attempts,
    dispatched,
    dispatching,
    row,
    rows,
    settings_for,
    statuses,
    wall_clock,
)


@pytest.mark.postgres
def test_due_deliveries_are_sent_and_logged(store, sandbox, run, clock):
    announce(store, "slack:#a", "email:a@corp.example", now=clock())
    assert run() == dispatched(attempted=2, success=2)
    (message,), (mail,) = sandbox.slack.messages, sandbox.smtp.messages
    assert (message.channel, mail.rcpt_tos) == ("#a", ["a@corp.example"])
    assert row(store, channel="slack").provider_id == message.ts
    assert [entry.outcome for entry in rows(store, attempt)] == ["success", "success"]


def test_nothing_due_is_nothing_done(sandbox, run):
    assert run() == dispatched()
    assert sandbox.slack.calls == []


def test_a_provider_that_is_away_for_a_moment_is_asked_again(store, sandbox, run, clock):
    announce(store, "slack:#flaky", now=clock())
    assert run() == dispatched(attempted=1, retrying=1)
    assert run() == dispatched(), "not before its time"
    clock.advance(2)
    assert run() == dispatched(attempted=1, success=1)
    assert len(sandbox.slack.messages) == 1
    assert [entry.outcome for entry in attempts(store, row(store).id)] == ["failed", "success"]


def test_a_channel_that_is_missing_is_final_and_named(store, sandbox, run, clock):
    announce(store, "slack:#missing", now=clock())
    assert run() == dispatched(attempted=1, failed=1)
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
    assert run() == dispatched(attempted=2, success=1, retrying=1)
    (message,) = sandbox.slack.messages
    assert message.blocks == []
    assert "Disk almost full" in message.text


def test_a_message_rejected_twice_is_final(store, sandbox, run, clock):
    sandbox.slack.faults.always("slack:invalid_blocks")
    announce(store, "slack:#a", now=clock())
    assert run() == dispatched(attempted=2, retrying=1, failed=1)
    assert len(sandbox.slack.calls) == 2


def test_a_rate_limit_pauses_that_address_only(store, sandbox, run, clock):
    sandbox.slack.faults.at("#busy", "429:30")
    for address in ("#busy", "#busy", "#calm"):
        announce(store, f"slack:{address}", now=clock())
    run()
    assert [entry.channel for entry in sandbox.slack.messages] == ["#calm"]
    assert len(sandbox.slack.calls) == 2
    sandbox.slack.faults.clear()
    clock.advance(29)
    assert run() == dispatched()
    clock.advance(2)
    assert run().success == 2


def test_one_event_can_be_sent_alone_and_unpaced(store, sandbox, run, clock):
    announce(store, "slack:#other", now=clock())
    event_id = announce(store, "slack:#mine", now=clock())
    assert run(event_id, SLACK_PER_SECOND="0.001", SLACK_BURST="1") == dispatched(attempted=1, success=1)
    assert [entry.channel for entry in sandbox.slack.messages] == ["#mine"]


def test_a_paced_channel_gets_all_its_messages_in_the_end(store, sandbox, database_url):
    for _ in range(8):
        announce(store, "slack:#busy", now=wall_clock())
    settings = settings_for(sandbox, database_url, SLACK_PER_SECOND="20", SLACK_BURST="2")
    with dispatching(store, settings, wall_clock) as dispatcher:
        assert dispatcher.run_once() == dispatched(attempted=8, success=8)


def test_a_revoked_token_costs_three_calls_at_most_for_a_thousand_that_wait(store, sandbox, run, clock):
    for _ in range(10):
        announce(store, *(f"slack:#channel-{number}" for number in range(100)), now=clock())
    sandbox.slack.auth_error = "token_revoked"
    run()
    assert len(sandbox.slack.calls) <= 3
    waiting = rows(store)
    assert all(entry.next_attempt_at is not None and entry.schedule_step == 0 for entry in waiting)
    assert {entry.error for entry in waiting if entry.attempts} == {"token_revoked"}


def test_after_the_repair_the_next_process_sends_them_all(store, sandbox, run, clock):
    announce(store, *(f"slack:#channel-{number}" for number in range(60)), now=clock())
    sandbox.slack.auth_error = "token_revoked"
    run()
    sandbox.slack.auth_error = None
    assert run() == dispatched(attempted=60, success=60)
    assert statuses(store) == {"success": 60}


@pytest.mark.postgres
def test_with_half_the_calls_refused_everything_arrives_once(store, sandbox, run, clock):
    sandbox.slack.faults.sometimes("http_503", 0.5, seed=1)
    for start in range(0, 100, 20):
        announce(store, *(f"slack:#channel-{number}" for number in range(start, start + 20)), now=clock())
    for _ in range(20):
        run(RETRY_SCHEDULE=" ".join(["1s"] * 20))
        clock.advance(2)
    assert statuses(store) == {"success": 100}
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

    def __init__(self, error=ZeroDivisionError):
        self._error = error

    def send(self, content, messages):
        raise self._error

    def close(self):
        pass


def test_a_mistake_in_a_channel_ends_as_an_ambiguous_failure(store, clock, caplog):
    announce(store, "slack:#a", now=clock())
    policy = DispatchOptions((5.0,), 30.0, 2, {})
    assert Dispatcher(store, {"slack": Broken()}, policy, clock).run_once() == dispatched(attempted=1, retrying=1)
    assert (row(store).error, row(store).ambiguous) == ("unexpected", True)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "local_error"),
        (OSError(errno.EMFILE, "Too many open files"), "local_error"),
        (MemoryError(), "out_of_memory"),
    ],
)
def test_a_failure_of_this_machine_is_never_final_at_once(store, clock, error, code):
    announce(store, "slack:#a", now=clock())
    options = DispatchOptions((1.0,), 30.0, 2, {})
    dispatcher = Dispatcher(store, {"slack": Broken(error)}, options, clock)
    for _ in range(5):
        assert dispatcher.run_once() == dispatched(attempted=1, retrying=1)
        clock.advance(10)
    waiting = row(store)
    assert (waiting.error, waiting.reason, waiting.schedule_step) == (code, "local", 0)
    assert waiting.next_attempt_at is not None


def test_an_unreachable_database_is_raised_once_and_not_swallowed(sandbox, database_url, clock):
    away = Store("postgresql+psycopg://alert@127.0.0.1:1/alerts")
    with dispatching(away, settings_for(sandbox, database_url), clock) as dispatcher, pytest.raises(Unreachable):
        dispatcher.run_once()
    away.close()


def test_an_observer_hears_of_every_attempt(store, sandbox, database_url, clock):
    from alertctl.channels import build

    announce(store, "slack:#a", "slack:#missing", now=clock())
    observed = []
    settings = settings_for(sandbox, database_url)
    channels = build(settings)

    def observe(scope, ended, _final) -> None:
        observed.extend((scope.provider, entry) for entry in ended)

    Dispatcher(store, channels, DispatchOptions.of(settings), clock, observe).run_once()
    for channel in channels.values():
        channel.close()
    assert [provider for provider, _ in observed] == ["slack", "slack"]
    assert {entry.claimed.address for _, entry in observed} == {"#a", "#missing"}
    assert len(rows(store, delivery)) == 2
