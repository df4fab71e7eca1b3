"""Dedup windows, expiry, and messages that are late."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from alertctl.db import Store, Writer
from alertctl.errors import InvalidEvent, Reason
from alertctl.models import Status
from alertctl.outbox import resend
from alertctl.outbox.tables import TABLES
from alertctl.publish import publish, publish_many
from tests.support.deliveries import (
    EVERYBODY,
    NOW,
    after,
    arrived,
    attempts,
    claim,
    claim_one,
    dispatched,
    publication,
    record,
    refused,
    row,
    rows,
)

WINDOW = 1800.0


def alert(key="disk", window=WINDOW, to=("slack:#ops",), **more):
    fields = {"title": "Disk almost full"} | ({"dedup_key": key} if key else {})
    return publication("generic_alert", fields, to=to, dedup_window=window, **more)


def rollback(window=WINDOW, to=("slack:#ops",), **fields):
    return publication("safety_rollback", {"dedup_key": "disk"} | fields, to=to, dedup_window=window)


def publish_at(store, prepared, now=NOW):
    return store.write(lambda connection: publish(connection, prepared, now))


def states(store):
    return [(entry.status, entry.error) for entry in rows(store)]


def test_what_was_sent_by_a_clock_that_was_set_back_since_suppresses_nothing(store):
    publish_at(store, alert(), after(3600))
    record(store, arrived(claim_one(store, now=after(3600))), now=after(3600))
    publish_at(store, alert())
    assert states(store) == [("success", None), ("pending", None)]


def test_a_duplicate_within_the_window_is_recorded_and_held_back(store):
    first = publish_at(store, alert())
    second = publish_at(store, alert(), after(WINDOW - 1))
    assert second.created
    assert second.event_id != first.event_id
    assert states(store) == [("pending", None), ("suppressed", f"duplicate of {first.event_id}")]


def test_after_the_window_a_new_one_begins(store):
    publish_at(store, alert())
    second = publish_at(store, alert(), after(WINDOW))
    third = publish_at(store, alert(), after(2 * WINDOW - 1))
    assert third.created
    assert states(store)[1:] == [("pending", None), ("suppressed", f"duplicate of {second.event_id}")]


def test_windows_of_different_keys_know_nothing_of_each_other(store):
    publish_at(store, alert("disk"))
    publish_at(store, alert("memory"))
    assert [status for status, _ in states(store)] == ["pending", "pending"]


def test_of_twenty_duplicates_at_once_one_is_sent(store):
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: publish_at(store, alert()), range(20)))
    assert sorted(status for status, _ in states(store)) == ["pending"] + 19 * ["suppressed"]


def test_duplicates_in_one_transaction_are_suppressed_too(store):
    store.write(lambda connection: publish_many(connection, [alert(), alert("other"), alert()], NOW))
    assert sorted(status for status, _ in states(store)) == ["pending", "pending", "suppressed"]


def test_an_info_to_a_missing_channel_does_not_silence_a_rollback(store, sandbox, run, clock):
    sandbox.slack.faults.at("#missing", "slack:channel_not_found")
    publish_at(store, alert(to=["slack:#missing"]), clock())
    assert run() == dispatched(attempted=1, failed=1)
    publish_at(store, rollback(to=["slack:#missing", "slack:#ops"]), clock())
    assert [(entry.address, entry.status) for entry in rows(store)[1:]] == [
        ("#missing", "pending"),
        ("#ops", "pending"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"feature_flag": "search-v2"},
        {"feature_flag": "checkout-v3", "environment": "staging"},
        {},
    ],
)
def test_another_subject_is_no_duplicate(store, other):
    publish_at(store, rollback(feature_flag="checkout-v3", environment="production"))
    publish_at(store, rollback(**other))
    publish_at(store, rollback(feature_flag="checkout-v3", environment="production", value=0.5))
    assert [status for status, _ in states(store)] == ["pending", "pending", "suppressed"]


def test_another_event_type_is_no_duplicate(store):
    publish_at(store, rollback())
    publish_at(store, alert())
    assert [status for status, _ in states(store)] == ["pending", "pending"]


def test_only_the_target_that_failed_is_sent_again(store):
    first = publish_at(store, alert(to=["slack:#ops", "slack:#gone"]))
    claimed = {entry.address: entry for entry in claim(store).taken}
    record(store, arrived(claimed["#ops"]), refused(claimed["#gone"], Reason.BAD_ADDRESS, "channel_not_found"))
    second = publish_at(store, alert(to=["slack:#gone", "slack:ops", "slack:#new"]), after(60))
    assert [(entry.address, entry.status, entry.error) for entry in rows(store, event_id=second.event_id)] == [
        ("#gone", "pending", None),
        ("ops", "suppressed", f"duplicate of {first.event_id}"),
        ("#new", "pending", None),
    ]


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.RATE_LIMITED, Reason.AMBIGUOUS])
def test_a_delivery_that_will_be_retried_suppresses_duplicates(store, reason):
    publish_at(store, alert())
    claimed = claim_one(store)
    publish_at(store, alert(), after(1))
    record(store, refused(claimed, reason), now=after(2))
    publish_at(store, alert(), after(3))
    assert [status for status, _ in states(store)] == ["failed", "suppressed", "suppressed"]


def test_suppressed_duplicates_do_not_extend_the_window(store):
    publish_at(store, alert())
    for seconds in range(100, int(WINDOW), 100):
        publish_at(store, alert(), after(seconds))
    last = publish_at(store, alert(), after(WINDOW))
    assert row(store, event_id=last.event_id).status == "pending"


def test_the_window_counts_from_the_moment_the_message_was_sent(store):
    first = publish_at(store, alert())
    record(store, arrived(claim_one(store, now=after(1200))), now=after(1200))
    second = publish_at(store, alert(), after(WINDOW + 1199))
    third = publish_at(store, alert(), after(WINDOW + 1200))
    assert row(store, event_id=second.event_id).error == f"duplicate of {first.event_id}"
    assert row(store, event_id=third.event_id).status == "pending"


def test_a_target_whose_channel_was_off_got_nothing(store):
    off = replace(EVERYBODY, enabled=frozenset({"email"}))
    fields = {"title": "x", "dedup_key": "disk"}
    publish_at(store, publication("generic_alert", fields, off, to=["slack:#ops"], dedup_window=WINDOW))
    publish_at(store, alert())
    assert states(store) == [("suppressed", "slack_disabled"), ("pending", None)]


def test_a_suppressed_delivery_that_is_resent_counts(store):
    publish_at(store, alert())
    record(store, refused(claim_one(store), Reason.BAD_ADDRESS))
    publish_at(store, alert(), after(10))
    third = publish_at(store, alert(), after(20))
    assert row(store, event_id=third.event_id).status == "suppressed"
    store.write(lambda connection: resend(connection, [row(store, event_id=third.event_id).id], "ana", after(1700)))
    fourth = publish_at(store, alert(), after(3400))
    assert row(store, event_id=fourth.event_id).error == f"duplicate of {third.event_id}"


def test_a_key_without_a_window_stays_a_key_for_ever_and_counts_as_sent(store):
    first = publish_at(store, alert(window=None))
    assert publish_at(store, alert(window=None), after(9 * WINDOW)).created is False
    windowed = publish_at(store, alert(), after(60))
    assert row(store, event_id=windowed.event_id).error == f"duplicate of {first.event_id}"


def test_a_key_with_a_window_is_no_key_for_ever(store):
    publish_at(store, alert())
    assert publish_at(store, alert(window=None), after(9 * WINDOW)).created
    assert [status for status, _ in states(store)] == ["pending", "pending"]


def test_a_window_ends_when_its_delivery_leaves_the_log(store):
    publish_at(store, alert())
    record(store, arrived(claim_one(store)))
    store.write(lambda connection: connection.execute(text("DELETE FROM event")))
    assert rows(store, TABLES["event_key"]) == []
    publish_at(store, alert(), after(60))
    assert [status for status, _ in states(store)] == ["pending"]


@pytest.mark.parametrize("through", ["stores", "writer"])
def test_of_eight_publishers_at_once_each_target_is_sent_to_by_one(store, database_url, through):
    targets = [f"slack:#team-{number}" for number in range(5)]
    begin = threading.Barrier(8)
    stores = [Store(database_url) for _ in range(8)]
    writer = Writer(store)

    def publish_some(number):
        own = writer if through == "writer" else stores[number]
        begin.wait(10)
        for _ in range(5):
            own.write(lambda connection: publish_many(connection, [alert(to=targets)], NOW))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish_some, range(8)))
    writer.close()
    for opened in stores:
        opened.close()
    counts = Counter((entry.address, entry.status) for entry in rows(store))
    expected = {(target.removeprefix("slack:"), "pending"): 1 for target in targets}
    assert counts == expected | {(target.removeprefix("slack:"), "suppressed"): 39 for target in targets}


def test_two_publishers_of_the_same_windows_in_different_order_both_succeed(store):
    keys = [f"key-{number}" for number in range(30)]
    begin = threading.Barrier(2)

    def publish_all(order):
        begin.wait(10)
        store.write(lambda connection: publish_many(connection, [alert(key) for key in order], NOW))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(publish_all, (keys, list(reversed(keys)))))
    assert Counter(status for status, _ in states(store)) == {"pending": 30, "suppressed": 30}


def test_a_long_series_of_duplicates_is_not_read_again_for_each(store):
    """The index holds only what may suppress: a storm of duplicates must not slow down the next one."""
    publish_at(store, alert())
    for number in range(100):
        publish_at(store, alert(), after(number))
    statements = []
    event.listen(store.engine, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    publish_at(store, alert(), after(100))
    (lookup,) = [call for call in statements if "dedup_hash IN" in call[0]]
    assert "ix_delivery_dedup" in plan(store, *lookup)


def plan(store, statement, parameters) -> str:
    explain = "EXPLAIN QUERY PLAN" if store.is_sqlite else "EXPLAIN"
    with store.reading() as connection:
        if not store.is_sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        return str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())


def test_a_repeated_call_is_no_duplicate(store):
    first = publish_at(store, alert(idempotency_key="job-7"))
    again = publish_at(store, alert(idempotency_key="job-7"), after(60))
    assert (again.event_id, again.created) == (first.event_id, False)
    assert states(store) == [("pending", None)]


@pytest.mark.parametrize(
    ("key", "window"), [(None, 60.0), ("disk", 0.0), ("disk", -1.0), ("disk", 1e9), ("disk", float("nan"))]
)
def test_a_window_without_sense_is_refused(key, window):
    with pytest.raises(InvalidEvent, match="dedup_window"):
        alert(key, window)


def test_an_expired_event_is_not_sent_any_more(store, sandbox, run, clock):
    publish_at(store, alert(None, None, expires_at=clock()), clock())
    assert run() == dispatched(attempted=1, failed=1)
    failed = row(store)
    assert (failed.status, failed.error, failed.next_attempt_at) == (Status.FAILED, "expired", None)
    assert [entry.code for entry in attempts(store, failed.id)] == ["expired"]
    assert sandbox.slack.calls == []


def test_a_retry_that_comes_too_late_expires(store, sandbox, run, clock):
    sandbox.slack.faults.always("http_503")
    publish_at(store, alert(None, None, expires_at=clock() + timedelta(seconds=0.5)), clock())
    assert run() == dispatched(attempted=1, retrying=1)
    clock.advance(2)
    assert run() == dispatched(attempted=1, failed=1)
    assert row(store).error == "expired"
    assert len(sandbox.slack.calls) == 1


def test_a_late_message_has_a_note_and_keeps_its_time(store, sandbox, run, clock):
    first_published = clock()
    clock.advance(31 * 60)
    publish_at(store, alert(None, None, originally_published_at=first_published), clock())
    run()
    (message,) = sandbox.slack.messages
    assert "delayed 31 min" in str(message.blocks)
    assert rows(store, TABLES["event"])[0].occurred_at == first_published


def test_a_message_in_time_does_not_say_that_it_is_late(store, sandbox, run, clock):
    publish_at(store, alert(None, None), clock())
    run()
    assert "delayed" not in str(sandbox.slack.messages[0].blocks)


def test_an_event_that_has_expired_is_not_on_its_way_and_suppresses_nothing(store):
    publish_at(store, alert(expires_at=after(10)))
    assert publish_at(store, alert(), after(9)).deliveries[0].status == "suppressed"
    assert publish_at(store, alert(), after(11)).deliveries[0].status == "pending"
