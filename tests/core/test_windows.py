"""What holds an alert back because of time: a duplicate's window, an event's own end; and what is late says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from alertctl.dispatcher import Tally
from alertctl.errors import InvalidEvent
from alertctl.models import Status
from alertctl.outbox.rows import TABLES
from alertctl.publish import prepare, publish
from core.lab import EVERYBODY, NOW, after, attempts, row, rows

WINDOW = 1800.0


def alert(key="disk", window=WINDOW, **more):
    fields = {"title": "Disk almost full"} | ({"dedup_key": key} if key else {})
    return prepare("generic_alert", fields, EVERYBODY, to=["slack:#ops"], dedup_window=window, **more)


def say(store, publication, now=NOW):
    return store.write(lambda connection: publish(connection, [publication], now)[0])


def standings(store):
    return [(one.status, one.error) for one in rows(store)]


def test_a_duplicate_within_the_window_is_recorded_and_held_back(store):
    first = say(store, alert())
    second = say(store, alert(), after(WINDOW - 1))
    assert second.created
    assert second.event_id != first.event_id
    assert standings(store) == [("pending", None), ("suppressed", f"duplicate of {first.event_id}")]


def test_after_the_window_a_new_one_begins(store):
    say(store, alert())
    second = say(store, alert(), after(WINDOW))
    third = say(store, alert(), after(2 * WINDOW - 1))
    assert third.created
    assert standings(store)[1:] == [("pending", None), ("suppressed", f"duplicate of {second.event_id}")]


def test_windows_of_different_keys_know_nothing_of_each_other(store):
    say(store, alert("disk"))
    say(store, alert("memory"))
    assert [status for status, _ in standings(store)] == ["pending", "pending"]


def test_of_twenty_duplicates_at_once_one_is_sent(store):
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: say(store, alert()), range(20)))
    assert sorted(status for status, _ in standings(store)) == ["pending"] + 19 * ["suppressed"]


def test_duplicates_of_one_transaction_are_told_apart_too(store):
    store.write(lambda connection: publish(connection, [alert(), alert("other"), alert()], NOW))
    assert sorted(status for status, _ in standings(store)) == ["pending", "pending", "suppressed"]


def test_a_repeated_call_is_no_duplicate(store):
    first = say(store, alert(idempotency_key="job-7"))
    again = say(store, alert(idempotency_key="job-7"), after(60))
    assert (again.event_id, again.created) == (first.event_id, False)
    assert standings(store) == [("pending", None)]


@pytest.mark.parametrize(
    ("key", "window"), [(None, 60.0), ("disk", 0.0), ("disk", -1.0), ("disk", 1e9), ("disk", float("nan"))]
)
def test_a_window_without_sense_is_refused(key, window):
    with pytest.raises(InvalidEvent, match="dedup_window"):
        alert(key, window)


def test_an_expired_event_is_not_sent_any_more(store, sandbox, run, clock):
    say(store, alert(None, None, expires_at=clock()), clock())
    assert run() == Tally(attempted=1, failed=1)
    failed = row(store)
    assert (failed.status, failed.error, failed.next_attempt_at) == (Status.FAILED, "expired", None)
    assert [one.code for one in attempts(store, failed.id)] == ["expired"]
    assert sandbox.slack.calls == []


def test_a_retry_that_comes_too_late_expires(store, sandbox, run, clock):
    sandbox.slack.faults.always("http_503")
    say(store, alert(None, None, expires_at=clock() + timedelta(seconds=0.5)), clock())
    assert run() == Tally(attempted=1, retrying=1)
    clock.advance(2)
    assert run() == Tally(attempted=1, failed=1)
    assert row(store).error == "expired"
    assert len(sandbox.slack.calls) == 1


def test_what_is_told_late_says_so_and_keeps_its_time(store, sandbox, run, clock):
    said = clock()
    clock.advance(31 * 60)
    say(store, alert(None, None, said_at=said), clock())
    run()
    (message,) = sandbox.slack.messages
    assert "delayed 31 min" in str(message.blocks)
    assert rows(store, TABLES["event"])[0].occurred_at == said


def test_what_is_told_in_time_does_not_call_itself_late(store, sandbox, run, clock):
    say(store, alert(None, None), clock())
    run()
    assert "delayed" not in str(sandbox.slack.messages[0].blocks)
