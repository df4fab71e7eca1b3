"""What comes after a failed attempt: one table."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.errors import DeliveryError, Reason
from alertctl.retry import JITTER, PROBE_SECONDS, RATE_LIMIT_SECONDS, PauseWanted, Tried, next_attempt, pause, wait
from core.lab import NOW

SCHEDULE = (5.0, 30.0, 120.0)
BACKOFF = (Reason.UNAVAILABLE, Reason.AMBIGUOUS)


def seconds_until(reason, tries=1, age=0.0, plain=False, chance=0.0, schedule=SCHEDULE, **more):
    error = DeliveryError(reason, "code", **more)
    moment = next_attempt(error, Tried(tries, age, plain), schedule, NOW, chance)
    return None if moment is None else (moment - NOW).total_seconds()


@pytest.mark.parametrize("reason", BACKOFF)
@pytest.mark.parametrize(("tries", "seconds"), [(1, 5), (2, 30), (3, 120), (4, None), (9, None)])
def test_what_may_pass_is_tried_along_the_schedule_and_no_longer(reason, tries, seconds):
    assert seconds_until(reason, tries) == seconds


@pytest.mark.parametrize("reason", [Reason.CONFIG, Reason.BAD_ADDRESS])
def test_what_cannot_pass_is_not_tried_again(reason):
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
    assert wait(DeliveryError(Reason.RATE_LIMITED, "x", retry_after=asked)) == seconds


@pytest.mark.parametrize(("age", "goes_on"), [(0, True), (155, True), (156, False)])
def test_being_told_to_wait_costs_no_try_while_the_schedule_would_last(age, goes_on):
    assert (seconds_until(Reason.RATE_LIMITED, tries=50, age=age) is not None) is goes_on


@given(
    chance=st.floats(0, 1),
    tries=st.integers(1, 3),
    schedule=st.lists(st.floats(0.1, 86_400), min_size=3, max_size=3),
)
def test_a_wait_is_lengthened_a_little_and_never_shortened(chance, tries, schedule):
    planned = schedule[tries - 1]
    waited = seconds_until(Reason.UNAVAILABLE, tries, chance=chance, schedule=schedule)
    assert planned - 1e-5 <= waited <= planned * (1 + JITTER) + 1e-5


def test_every_reason_has_an_answer():
    answers = [seconds_until(reason) for reason in Reason]
    assert len(answers) == 7


@pytest.mark.parametrize(
    ("reason", "more", "wanted"),
    [
        (Reason.CONFIG, {}, PauseWanted(None, PROBE_SECONDS)),
        (Reason.RATE_LIMITED, {"retry_after": 7}, PauseWanted("#a", 7)),
        (Reason.RATE_LIMITED, {"retry_after": 7, "whole_provider": True}, PauseWanted(None, 7)),
        (Reason.UNAVAILABLE, {}, None),
        (Reason.AMBIGUOUS, {}, None),
        (Reason.BAD_ADDRESS, {}, None),
        (Reason.REJECTED, {}, None),
    ],
)
def test_only_rate_limits_and_bad_credentials_pause_anything(reason, more, wanted):
    assert pause(DeliveryError(reason, "code", **more), "#a") == wanted


def test_the_next_attempt_is_counted_from_now():
    error = DeliveryError(Reason.UNAVAILABLE, "http_503")
    later = NOW + timedelta(days=3)
    assert next_attempt(error, Tried(1, 0, False), SCHEDULE, later, 0) == later + timedelta(seconds=5)
