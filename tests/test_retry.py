"""When a failed attempt is retried."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.errors import DeliveryError, Reason
from alertctl.retry import (
    JITTER,
    LOCAL_SECONDS,
    RATE_LIMIT_SECONDS,
    is_expired,
    next_attempt,
    rate_limit_wait,
)
from tests.support.deliveries import NOW

SCHEDULE = (5.0, 30.0, 120.0)
BACKOFF = (Reason.UNAVAILABLE, Reason.AMBIGUOUS)


MAX_AGE = 72 * 3600.0


def seconds_until(
    reason,
    step=0,
    attempts=1,
    age=0.0,
    plain=False,
    once=False,
    alone=False,
    chance=0.0,
    schedule=SCHEDULE,
    **more,
):
    error = DeliveryError(reason, "code", **more)
    moment = next_attempt(
        error,
        attempts=attempts,
        schedule_step=step,
        queued_at=NOW - timedelta(seconds=age),
        plain=plain,
        once=once,
        alone=alone,
        schedule=schedule,
        max_age=MAX_AGE,
        now=NOW,
        chance=chance,
    )
    return None if moment is None else (moment - NOW).total_seconds()


@pytest.mark.parametrize("reason", BACKOFF)
@pytest.mark.parametrize(("step", "seconds"), [(0, 5), (1, 30), (2, 120), (3, None), (9, None)])
def test_a_temporary_failure_is_retried_along_the_schedule_and_no_longer(reason, step, seconds):
    assert seconds_until(reason, step, attempts=50) == seconds


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.BAD_ADDRESS])
def test_a_permanent_failure_is_not_retried(reason):
    assert seconds_until(reason) is None


@pytest.mark.parametrize(("plain", "seconds"), [(False, 0), (True, None)])
def test_a_rejected_message_goes_once_more_and_at_once_as_plain_text(plain, seconds):
    assert seconds_until(Reason.REJECTED, plain=plain) == seconds


@pytest.mark.parametrize("reason", [*BACKOFF, Reason.REJECTED])
def test_an_empty_schedule_means_one_attempt(reason):
    assert seconds_until(reason, schedule=(), plain=True) is None


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, RATE_LIMIT_SECONDS), (0, 1), (-1, 1), (1.5, 1.5), (3600, 3600), (10**12, 3600)]
)
def test_a_rate_limit_is_waited_for_within_one_second_to_one_hour(asked, seconds):
    assert seconds_until(Reason.RATE_LIMITED, retry_after=asked) == seconds
    assert rate_limit_wait(DeliveryError(Reason.RATE_LIMITED, "x", retry_after=asked)) == seconds


@pytest.mark.parametrize("reason", [Reason.LOCAL, Reason.CONFIG])
@pytest.mark.parametrize(("age", "waits"), [(0, True), (MAX_AGE - 1, True), (MAX_AGE, False)])
def test_config_and_local_failures_end_by_age_only(reason, age, waits):
    assert (seconds_until(reason, step=50, attempts=50, age=age) is not None) is waits
    assert is_expired(reason, NOW - timedelta(seconds=age), MAX_AGE, NOW) is not waits


@pytest.mark.parametrize(
    "reason", [Reason.UNAVAILABLE, Reason.AMBIGUOUS, Reason.REJECTED, Reason.BAD_ADDRESS, Reason.RATE_LIMITED]
)
def test_other_reasons_do_not_expire(reason):
    assert not is_expired(reason, NOW - timedelta(days=365), MAX_AGE, NOW)


def test_a_refusal_of_our_credentials_keeps_its_position():
    assert seconds_until(Reason.CONFIG, attempts=1, age=100) == -100
    assert seconds_until(Reason.CONFIG, attempts=9, age=100) == -100


def test_a_rate_limit_waits_at_any_age():
    assert seconds_until(Reason.RATE_LIMITED, attempts=50, age=10 * MAX_AGE, retry_after=2) == 2


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 5), (2, 30), (3, 120), (4, 120), (40, 120)])
def test_a_failure_of_this_machine_repeats_the_last_step(attempts, seconds):
    assert seconds_until(Reason.LOCAL, attempts=attempts) == seconds
    assert seconds_until(Reason.LOCAL, attempts=attempts, schedule=()) == LOCAL_SECONDS


@pytest.mark.parametrize("reason", [*BACKOFF, Reason.CONFIG, Reason.LOCAL, Reason.RATE_LIMITED])
def test_a_test_is_not_tried_again_later(reason):
    assert seconds_until(reason, once=True) is None


@given(
    chance=st.floats(0, 1),
    step=st.integers(0, 2),
    schedule=st.lists(st.floats(0.1, 86_400), min_size=3, max_size=3),
)
def test_a_wait_is_lengthened_a_little_and_never_shortened(chance, step, schedule):
    planned = schedule[step]
    waited = seconds_until(Reason.UNAVAILABLE, step, chance=chance, schedule=schedule)
    assert planned - 1e-5 <= waited <= planned * (1 + JITTER) + 1e-5


def test_every_reason_has_an_answer():
    answers = [seconds_until(reason) for reason in Reason]
    assert len(answers) == 8


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 30), (2, 60), (3, 120), (20, 3600)])
def test_a_message_that_alone_is_refused_waits_longer_each_time(attempts, seconds):
    assert seconds_until(Reason.CONFIG, attempts=attempts, alone=True) == seconds


def test_the_next_attempt_is_counted_from_now():
    assert seconds_until(Reason.UNAVAILABLE, age=3 * 86400) == 5


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 5), (2, 30), (3, 120), (50, 120)])
def test_a_refused_feature_repeats_the_last_step_until_the_delivery_expires(attempts, seconds):
    assert seconds_until(Reason.CONFIG, step=9, attempts=attempts, age=100, feature_only=True) == seconds
    assert seconds_until(Reason.CONFIG, schedule=(), feature_only=True) == LOCAL_SECONDS
    assert seconds_until(Reason.CONFIG, age=MAX_AGE, feature_only=True) is None
    assert seconds_until(Reason.CONFIG, once=True, feature_only=True) is None
