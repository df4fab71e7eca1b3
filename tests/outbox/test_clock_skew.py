"""Times that a clock wrote before it was set back."""

from __future__ import annotations

from datetime import timedelta

from alertctl import outbox
from alertctl.db import Store
from alertctl.errors import Reason
from alertctl.outbox.tables import pauses
from tests.support.deliveries import LEASE, announce, claim, record, refused, row, rows

AHEAD = timedelta(hours=1)


def correct(store: Store, now) -> int:
    return store.write(lambda connection: outbox.correct_future_times(connection, now, LEASE))


def test_what_waits_or_will_be_retried_is_due_now(store, start) -> None:
    announce(store, "slack:#retried", now=start + AHEAD)
    (claimed,) = claim(store, now=start + AHEAD).taken
    record(store, refused(claimed, Reason.UNAVAILABLE), now=start + AHEAD)
    announce(store, "slack:#waits", now=start + AHEAD)
    assert not claim(store, now=start).taken
    assert correct(store, start) == 2
    assert {entry.address for entry in claim(store, now=start).taken} == {"#retried", "#waits"}
    assert correct(store, start) == 0


def test_an_attempt_in_flight_keeps_its_lease_from_now(store, start) -> None:
    announce(store, "slack:#sending", now=start + AHEAD)
    claim(store, now=start + AHEAD)
    assert correct(store, start) == 1
    assert row(store).next_attempt_at == start + timedelta(seconds=LEASE)
    assert row(store).status == "sending"


def test_a_pause_of_the_later_time_ends_and_what_it_postponed_is_due(store, start) -> None:
    announce(store, "slack:#limited", now=start + AHEAD)
    (claimed,) = claim(store, now=start + AHEAD).taken
    announce(store, "slack:#limited", now=start)
    record(store, refused(claimed, Reason.RATE_LIMITED, retry_after=20.0), now=start + AHEAD)
    assert not claim(store, now=start + AHEAD).taken
    assert correct(store, start) == 2
    assert rows(store, pauses) == []
    assert len(claim(store, now=start).taken) == 2


def test_another_machines_clock_may_be_minutes_ahead(store, start) -> None:
    announce(store, "slack:#x", now=start + timedelta(minutes=4))
    assert correct(store, start) == 0


def test_final_deliveries_and_long_waits_keep_their_times(store, start) -> None:
    announce(store, "slack:#gone", now=start + AHEAD)
    (claimed,) = claim(store, now=start + AHEAD).taken
    record(store, refused(claimed, Reason.BAD_ADDRESS), now=start + AHEAD)
    announce(store, "slack:#later", now=start)
    (claimed,) = claim(store, now=start).taken
    record(store, refused(claimed, Reason.RATE_LIMITED, retry_after=3000.0), now=start)
    before = rows(store)
    assert correct(store, start) == 0
    assert rows(store) == before
