"""When a process that was refused calls the provider again, and how carefully."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alertctl.channels.base import Receipt
from alertctl.dispatcher.circuit_breaker import IDLE_SECONDS, LONGEST_PROBE_SECONDS, PROBE_SECONDS, CircuitBreaker
from alertctl.errors import DeliveryError, Reason

CLOCK = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
REFUSED = DeliveryError(Reason.CONFIG, "invalid_auth")
ACCEPTED = Receipt("1700000000.000100")
START = 1000.0


@pytest.fixture
def breaker():
    return CircuitBreaker()


def record(breaker, result, now=START, *, probe=False):
    breaker.record([result], probe=probe, refused_before=False, now=now, clock=CLOCK)


def probe(breaker, result):
    """Send the next probe at its time, get `result`; returns that time."""
    now = START
    while breaker.allowance(0, now) == 0:
        now += 0.5
    assert breaker.start(now)
    record(breaker, result, now, probe=True)
    return now


def test_a_refusal_opens_it_and_nothing_is_sent_until_the_first_probe(breaker):
    record(breaker, REFUSED)
    assert (breaker.refusal, breaker.since) == (REFUSED, CLOCK)
    assert breaker.allowance(0, START + 0.79 * PROBE_SECONDS) == 0
    assert breaker.allowance(0, START + 1.21 * PROBE_SECONDS) == 1
    assert not breaker.may_send(probe=False)
    assert breaker.may_send(probe=True)


def test_one_probe_is_out_at_a_time(breaker):
    record(breaker, REFUSED)
    assert breaker.allowance(1, START + 1.21 * PROBE_SECONDS) == 0


def test_each_refused_probe_doubles_the_wait_up_to_ten_minutes(breaker):
    record(breaker, REFUSED)
    waits = []
    for _ in range(7):
        now = probe(breaker, REFUSED)
        waits.append(breaker.seconds_to_probe(now))
    expected = [60, 120, 240, 480, 600, 600, 600]
    assert all(0.8 * length <= wait <= 1.2 * length for wait, length in zip(waits, expected, strict=True))
    assert expected[-1] == LONGEST_PROBE_SECONDS


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.AMBIGUOUS, Reason.RATE_LIMITED, Reason.LOCAL])
def test_a_probe_that_says_nothing_about_our_credentials_is_repeated_after_the_same_wait(breaker, reason):
    record(breaker, REFUSED)
    now = probe(breaker, DeliveryError(reason, "code"))
    assert breaker.refusal is REFUSED
    assert 0.8 * PROBE_SECONDS <= breaker.seconds_to_probe(now) <= 1.2 * PROBE_SECONDS


@pytest.mark.parametrize(
    "result", [ACCEPTED, DeliveryError(Reason.BAD_ADDRESS, "x"), DeliveryError(Reason.REJECTED, "x")]
)
def test_a_provider_that_judges_the_message_has_accepted_our_credentials(breaker, result):
    record(breaker, REFUSED)
    probe(breaker, result)
    assert breaker.refusal is None


def test_after_a_good_probe_the_load_doubles_each_round(breaker):
    record(breaker, REFUSED)
    now = probe(breaker, ACCEPTED)
    rounds = []
    while (allowed := breaker.allowance(0, now)) is not None:
        rounds.append(allowed)
        for _ in range(allowed):
            record(breaker, ACCEPTED, now)
    assert rounds[:4] == [2, 4, 8, 16]
    assert rounds[-1] <= 128


def test_results_of_sends_in_flight_neither_close_the_breaker_nor_delay_the_probe(breaker):
    record(breaker, REFUSED)
    wait = breaker.seconds_to_probe(START)
    record(breaker, ACCEPTED)
    record(breaker, REFUSED)
    assert breaker.refusal is REFUSED
    assert breaker.seconds_to_probe(START) == wait


def test_a_new_probe_request_lets_it_probe_at_once_and_an_old_one_does_not(breaker):
    record(breaker, REFUSED)
    breaker.request_probe(7, START)
    assert breaker.allowance(0, START) == 0
    breaker.request_probe(8, START)
    assert breaker.allowance(0, START) == 1


def test_after_a_pause_the_first_delivery_goes_alone_and_a_slow_answer_is_no_refusal(breaker):
    assert breaker.allowance(0, START) == 1
    assert breaker.allowance(1, START + 0.5 * IDLE_SECONDS) == 0
    assert breaker.allowance(1, START + 1.5 * IDLE_SECONDS) == 1
    assert breaker.allowance(2, START + 2.5 * IDLE_SECONDS) is None


def test_once_the_first_one_arrived_there_is_no_limit(breaker):
    breaker.allowance(0, START)
    breaker.start(START)
    record(breaker, ACCEPTED)
    assert breaker.allowance(5, START) is None


def test_a_message_that_alone_is_refused_again_does_not_open_it_once_others_were_accepted(breaker):
    record(breaker, REFUSED)
    probe(breaker, ACCEPTED)
    assert breaker.record([REFUSED], probe=False, refused_before=True, now=START, clock=CLOCK)
    assert breaker.refusal is None
    assert not breaker.record([REFUSED], probe=False, refused_before=False, now=START, clock=CLOCK)
    assert breaker.refusal is REFUSED


def test_a_refused_feature_opens_nothing_and_closes_nothing(breaker):
    refused_feature = DeliveryError(Reason.CONFIG, "missing_scope", feature_only=True)
    record(breaker, refused_feature)
    assert breaker.refusal is None
    record(breaker, REFUSED)
    probe(breaker, refused_feature)
    assert breaker.refusal == REFUSED
