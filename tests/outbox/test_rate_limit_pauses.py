"""Pauses that a provider asks for: of one address, or of the entire provider."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from alertctl import outbox
from alertctl.errors import Reason
from tests.support.deliveries import (
    after,
    announce,
    arrived,
    claim,
    claim_one,
    open_pauses,
    record,
    refused,
    row,
    rows,
)


def limited(claimed, seconds, entire_provider=False):
    return refused(claimed, Reason.RATE_LIMITED, "ratelimited", retry_after=seconds, entire_provider=entire_provider)


def resend(store, *ids, now) -> None:
    store.write(lambda connection: outbox.resend(connection, ids, "dev", now))


def test_a_rate_limit_pauses_its_address_only(store):
    announce(store, "slack:#busy")
    record(store, limited(claim_one(store), 30))
    announce(store, "slack:#busy", "slack:#calm")
    assert open_pauses(store) == {"#busy": "ratelimited"}
    assert [entry.address for entry in claim(store).taken] == ["#calm"]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.RATE_LIMITED])
def test_no_other_failure_pauses_anything(store, reason):
    announce(store, "slack:#a")
    record(store, refused(claim_one(store), reason))
    assert open_pauses(store) == {}


def test_a_paused_address_is_compared_without_case(store):
    announce(store, "slack:#Busy")
    record(store, limited(claim_one(store), 30))
    announce(store, "slack:#bUSY")
    assert claim(store).taken == []


def test_deliveries_to_a_paused_address_are_postponed_to_the_end_of_the_pause(store):
    announce(store, "slack:#busy")
    record(store, limited(claim_one(store), 30))
    announce(store, "slack:#busy")
    claim(store)
    assert [entry.next_attempt_at for entry in rows(store)] == [after(30), after(30)]
    assert len(claim(store, now=after(30)).taken) == 2


def test_a_rate_limit_of_the_entire_provider_holds_everything_and_fails_nothing(store):
    announce(store, "slack:#a", "slack:#b")
    record(store, limited(claim(store, limit=1).taken[0], 60, entire_provider=True))
    held = claim(store, now=after(59))
    assert (held.taken, held.paused_until) == ([], after(60))
    assert len(claim(store, now=after(60)).taken) == 2


def test_a_success_of_a_delivery_in_flight_does_not_end_a_rate_limit(store):
    announce(store, "slack:#a", "slack:#b")
    first, second = claim(store).taken
    record(store, limited(first, 60, entire_provider=True))
    record(store, arrived(second), now=after(1))
    assert open_pauses(store, after(2)) == {"": "ratelimited"}


def test_a_resend_does_not_end_a_rate_limit(store):
    announce(store, "slack:#a")
    record(store, limited(claim_one(store), 60, entire_provider=True))
    resend(store, row(store).id, now=after(1))
    assert claim(store, now=after(2)).taken == []


def test_daemons_that_write_the_same_pauses_do_not_wait_for_each_other(store):
    names = [f"slack:#channel-{number}" for number in range(40)]
    begin = threading.Barrier(2)

    def write(order):
        begin.wait(10)
        for _ in range(10):
            record(store, *(limited(entry, 30) for entry in order))

    orders = []
    for _ in range(2):
        announce(store, *names)
        orders.append(sorted(claim(store).taken, key=lambda entry: entry.address, reverse=bool(orders)))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, orders))
    assert len(open_pauses(store)) == 40


def test_two_rate_limits_in_one_batch_are_one_pause(store):
    announce(store, "slack:#busy")
    announce(store, "slack:#busy")
    taken = claim(store).taken
    record(store, *(limited(entry, 30) for entry in taken))
    assert list(open_pauses(store)) == ["#busy"]
