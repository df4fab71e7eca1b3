"""Leaving an address or a provider alone: Retry-After, the breaker, its probe."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from alertctl import outbox
from alertctl.channels.base import Receipt
from alertctl.errors import DeliveryError, Reason
from alertctl.outbox import Ended
from alertctl.retry import PROBE_SECONDS
from core.lab import (
    EMAIL,
    LEASE,
    NOW,
    SLACK,
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


def limited(claimed, seconds, whole=False):
    return refused(claimed, Reason.RATE_LIMITED, "ratelimited", retry_after=seconds, whole_provider=whole)


def breaker_opens(store, lane=SLACK, now=NOW) -> None:
    announce(store, "slack:#first" if lane is SLACK else "email:first@corp.example", now=now)
    record(store, refused(claim_one(store, lane, now), Reason.CONFIG, "token_revoked"), lane=lane, now=now)


def resend(store, *ids, now) -> None:
    store.write(lambda connection: outbox.resend(connection, ids, "dev", now))


def test_a_rate_limit_pauses_its_address_only(store):
    announce(store, "slack:#busy")
    record(store, limited(claim_one(store), 30))
    announce(store, "slack:#busy", "slack:#calm")
    assert open_pauses(store) == {"#busy": "ratelimited"}
    assert [one.address for one in claim(store).taken] == ["#calm"]


def test_a_paused_address_is_compared_without_case(store):
    announce(store, "slack:#Busy")
    record(store, limited(claim_one(store), 30))
    announce(store, "slack:#bUSY")
    assert claim(store).taken == []


def test_what_waits_for_a_paused_address_moves_to_the_end_of_the_pause(store):
    announce(store, "slack:#busy")
    record(store, limited(claim_one(store), 30))
    announce(store, "slack:#busy")
    claim(store)
    assert [one.next_attempt_at for one in rows(store)] == [after(30), after(30)]
    assert len(claim(store, now=after(30)).taken) == 2


def test_a_rate_limit_of_the_whole_provider_holds_everything_and_fails_nothing(store):
    announce(store, "slack:#a", "slack:#b")
    record(store, limited(claim(store, limit=1).taken[0], 60, whole=True))
    held = claim(store, now=after(59))
    assert (held.taken, held.failed, held.paused_until) == ([], 0, after(60))
    assert len(claim(store, now=after(60)).taken) == 2


def test_a_success_that_was_on_its_way_does_not_end_a_rate_limit(store):
    announce(store, "slack:#a", "slack:#b")
    first, second = claim(store).taken
    record(store, limited(first, 60, whole=True))
    record(store, arrived(second), now=after(1))
    assert open_pauses(store, after(2)) == {"": "ratelimited"}


def test_a_pause_of_one_provider_leaves_the_other(store):
    breaker_opens(store)
    announce(store, "email:a@corp.example")
    assert len(claim(store, EMAIL).taken) == 1


def test_an_open_breaker_fails_what_waits_with_its_own_code_and_no_attempt(store):
    breaker_opens(store)
    announce(store, *(f"slack:#channel-{number}" for number in range(50)))
    swept = claim(store, now=after(1))
    assert (len(swept.taken), swept.failed) == (0, 50)
    waited = [one for one in rows(store) if one.address != "#first"]
    assert {(one.status, one.error, one.reason, one.next_attempt_at, one.attempts) for one in waited} == {
        ("failed", "token_revoked", "config", None, 0)
    }


def test_when_the_breakers_time_is_up_one_delivery_is_the_probe(store):
    breaker_opens(store)
    announce(store, "slack:#a", "slack:#b", now=after(PROBE_SECONDS))
    probe = claim(store, now=after(PROBE_SECONDS))
    assert (len(probe.taken), probe.probing, probe.failed) == (1, True, 0)


def test_what_waits_while_the_probe_is_under_way_neither_goes_nor_fails(store):
    breaker_opens(store)
    later = after(PROBE_SECONDS)
    announce(store, "slack:#a", "slack:#b", now=later)
    probe = claim(store, now=later).taken[0]
    meanwhile = claim(store, now=after(PROBE_SECONDS + 1))
    assert (meanwhile.taken, meanwhile.failed) == ([], 0)
    record(store, arrived(probe), now=after(PROBE_SECONDS + 2))
    assert len(claim(store, now=after(PROBE_SECONDS + 2)).taken) == 1


@pytest.mark.parametrize("verdict", [Reason.BAD_ADDRESS, Reason.REJECTED])
def test_a_verdict_on_the_message_shows_that_the_credentials_are_good_again(store, verdict):
    breaker_opens(store)
    announce(store, "slack:#a", "slack:#b", now=after(PROBE_SECONDS))
    probe = claim(store, now=after(PROBE_SECONDS)).taken[0]
    record(store, refused(probe, verdict), now=after(PROBE_SECONDS))
    assert open_pauses(store, after(PROBE_SECONDS)) == {}


def test_a_probe_that_is_refused_opens_the_breaker_once_more(store):
    breaker_opens(store)
    announce(store, "slack:#a", "slack:#b", now=after(PROBE_SECONDS))
    probe = claim(store, now=after(PROBE_SECONDS)).taken[0]
    record(store, refused(probe, Reason.CONFIG, "invalid_auth"), now=after(PROBE_SECONDS))
    assert claim(store, now=after(PROBE_SECONDS + 1)).failed == 1
    assert {one.error for one in rows(store)} == {"token_revoked", "invalid_auth"}


def test_a_probe_whose_sender_died_is_followed_by_another(store):
    breaker_opens(store)
    announce(store, "slack:#a", now=after(PROBE_SECONDS))
    claim_one(store, now=after(PROBE_SECONDS))
    again = claim(store, now=after(PROBE_SECONDS + max(PROBE_SECONDS, LEASE)))
    assert (len(again.taken), again.probing) == (1, True)


def test_a_resend_lets_a_probe_through_at_once_and_then_all(store):
    breaker_opens(store)
    announce(store, *(f"slack:#channel-{number}" for number in range(20)))
    claim(store, now=after(1))
    resend(store, *(one.id for one in rows(store)), now=after(2))
    probe = claim(store, now=after(2))
    assert len(probe.taken) == 1
    record(store, arrived(probe.taken[0]), now=after(3))
    assert len(claim(store, now=after(3)).taken) == 20


def test_a_resend_does_not_end_a_rate_limit(store):
    announce(store, "slack:#a")
    record(store, limited(claim_one(store), 60, whole=True))
    resend(store, row(store).id, now=after(1))
    assert claim(store, now=after(2)).taken == []


def test_what_is_already_on_its_way_when_the_breaker_opens_keeps_its_verdict(store):
    announce(store, "slack:#a", "slack:#b")
    first, second = claim(store).taken
    record(store, refused(first, Reason.CONFIG, "token_revoked"))
    assert claim(store, now=after(1)).failed == 0
    record(store, arrived(second), now=after(2))
    assert row(store, address=second.address).status == "success"


def test_a_lease_that_runs_out_behind_an_open_breaker_ends_as_ambiguous(store):
    announce(store, "slack:#a", "slack:#b")
    first, lost = claim(store).taken
    record(store, refused(first, Reason.CONFIG, "token_revoked"), now=after(LEASE))
    assert claim(store, now=after(LEASE + 1)).failed == 1
    ended = row(store, id=lost.delivery_id)
    assert (ended.status, ended.error, ended.ambiguous) == ("failed", "token_revoked", True)


def test_daemons_that_write_the_same_pauses_do_not_wait_for_each_other(store):
    names = [f"slack:#channel-{number}" for number in range(40)]
    begin = threading.Barrier(2)

    def write(order):
        begin.wait(10)
        for _ in range(10):
            record(store, *(limited(one, 30) for one in order))

    orders = []
    for _ in range(2):
        announce(store, *names)
        orders.append(sorted(claim(store).taken, key=lambda one: one.address, reverse=bool(orders)))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, orders))
    assert len(open_pauses(store)) == 40


def test_two_rate_limits_in_one_batch_are_one_pause(store):
    announce(store, "slack:#busy")
    announce(store, "slack:#busy")
    taken = claim(store).taken
    record(store, *(limited(one, 30) for one in taken))
    assert list(open_pauses(store)) == ["#busy"]


def test_a_batch_with_a_success_and_a_refusal_of_our_credentials_leaves_the_breaker_open(store):
    announce(store, "slack:#a", "slack:#b")
    first, second = claim(store).taken
    error = DeliveryError(Reason.CONFIG, "token_revoked")
    record(store, Ended(first, error, 1), Ended(second, Receipt("1.1"), 1))
    assert open_pauses(store) == {"": "token_revoked"}
