"""The machine's clock is set back or forward under a running scheduler."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from alertctl.daemon.clock import DISTRUST_SECONDS, ClockGuard, IntervalTrigger, JobStore
from alertctl.daemon.scheduler import SchedulerHeartbeat, schedule
from alertctl.db import Writer
from alertctl.publish import publish
from tests.support.deliveries import announce, dispatching, publication, rows, settings_for

HOUR, YEAR = 3600.0, 365 * 86_400.0
STEPS = pytest.mark.parametrize("step", [HOUR, YEAR, -HOUR, -YEAR])


def set_clock(scheduler: BackgroundScheduler, step: float) -> None:
    """Bring the jobs into the state in which a clock that is set by `step` seconds leaves them."""
    for job in scheduler.get_jobs():
        job.modify(next_run_time=datetime.now(UTC) - timedelta(seconds=step))


class CountingTrigger(IntervalTrigger):
    """Count the calculated times of runs: they must not include missed runs."""

    calculated = 0

    def get_next_fire_time(self, previous_fire_time, now):
        self.calculated += 1
        return super().get_next_fire_time(previous_fire_time, now)


@STEPS
def test_jobs_go_on_at_their_interval(step) -> None:
    scheduler = BackgroundScheduler(
        jobstores={"default": JobStore()}, job_defaults={"misfire_grace_time": None, "coalesce": True}, timezone="UTC"
    )
    trigger, runs, started, again = CountingTrigger(0.05), 0, threading.Event(), threading.Event()

    def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            started.set()
        if runs == 8:
            again.set()

    scheduler.add_job(run, trigger)
    scheduler.start()
    try:
        assert started.wait(30)
        set_clock(scheduler, step)
        assert again.wait(30)
    finally:
        scheduler.shutdown()
    assert trigger.calculated <= 2 * runs + 4


def test_all_jobs_have_such_an_interval(store, sandbox, database_url, clock) -> None:
    settings = settings_for(sandbox, database_url)
    with dispatching(store, settings, clock) as dispatcher:
        scheduler = schedule(settings, store, dispatcher, SchedulerHeartbeat(), clock, lambda: True, lambda count: None)
        assert {type(job.trigger) for job in scheduler.get_jobs()} == {IntervalTrigger}


def test_after_a_step_forward_ages_count_again_in_an_hour_or_when_it_is_corrected() -> None:
    now, step = 1000.0, 0.0
    guard = ClockGuard(lambda: now + step, lambda: now)
    assert guard.is_trusted()
    step = YEAR
    assert not guard.is_trusted()
    now += DISTRUST_SECONDS - 1
    assert not guard.is_trusted()
    now += 1
    assert guard.is_trusted()
    step += HOUR
    assert not guard.is_trusted()
    step -= HOUR
    assert guard.is_trusted()


def test_a_clock_that_is_slightly_wrong_is_trusted() -> None:
    offsets = iter([0.0, 30.0, 60.0, 20.0])
    guard = ClockGuard(lambda: next(offsets), lambda: 0.0)
    assert [guard.is_trusted() for _ in range(3)] == [True] * 3


def test_after_a_step_back_the_daemon_sends_what_the_later_time_scheduled(store, sandbox, database_url, clock) -> None:
    settings = settings_for(sandbox, database_url)
    announce(store, "slack:#waits", now=clock())
    clock.advance(-YEAR)
    with dispatching(store, settings, clock) as dispatcher:
        scheduler = schedule(settings, store, dispatcher, SchedulerHeartbeat(), clock, lambda: True, lambda count: None)
        assert dispatcher.run_once().success == 0
        scheduler.get_job("correct_times").func()
        assert dispatcher.run_once().success == 1


@pytest.mark.parametrize("token", ["xoxb-wrong", None])
def test_after_a_step_forward_an_attempt_does_not_expire_a_delivery(store, sandbox, database_url, clock, token) -> None:
    settings = settings_for(sandbox, database_url, **({"SLACK_BOT_TOKEN": token} if token else {}))
    expires_at = None if token else clock() + timedelta(hours=1)
    alert = publication("generic_alert", {"title": "x"}, to=["slack:#waits"], expires_at=expires_at)
    store.write(publish, alert, clock())
    store.write(publish, alert, clock())
    clock.advance(YEAR)
    with dispatching(store, settings, clock, is_clock_trusted=lambda: False) as dispatcher:
        counts = dispatcher.run_once()
    assert counts.failed == 0
    assert (counts.retrying, counts.success) == ((1, 0) if token else (0, 2))
    if token:
        with dispatching(store, settings, clock) as dispatcher:
            assert dispatcher.run_once().failed == 1


def test_jobs_neither_expire_nor_prune_while_the_clock_is_not_trusted(store, sandbox, database_url, clock) -> None:
    settings, counts = settings_for(sandbox, database_url, SLACK_BOT_TOKEN="xoxb-wrong"), []
    with dispatching(store, settings, clock) as dispatcher:
        announce(store, "slack:#waits", now=clock())
        assert dispatcher.run_once().retrying == 1
        # Ids only grow: those of this process may be years ahead of the clock already.
        clock.advance(20 * YEAR)

        def run_jobs(*, trusted: bool) -> None:
            heartbeat = SchedulerHeartbeat()
            scheduler = schedule(settings, store, dispatcher, heartbeat, clock, lambda: trusted, counts.append)
            for name in ("expire", "prune", "expire"):
                scheduler.get_job(name).func()

        run_jobs(trusted=False)
        assert (counts, [row.reason for row in rows(store)]) == ([], ["config"])
        run_jobs(trusted=True)
        assert (sum(counts), rows(store)) == (1, [])


def test_deliveries_expire_by_the_time_at_which_their_transaction_begins(store, sandbox, database_url, clock) -> None:
    settings, counts = settings_for(sandbox, database_url), []
    writer = Writer(store)
    expires_at = clock() + timedelta(minutes=1)
    alert = publication("generic_alert", {"title": "x"}, to=["slack:#waits"], expires_at=expires_at)
    store.write(publish, alert, clock())
    turn, waiting = threading.Event(), threading.Event()

    def occupy(connection) -> None:
        waiting.set()
        assert turn.wait(30)

    with dispatching(writer, settings, clock) as dispatcher:
        job = schedule(settings, writer, dispatcher, SchedulerHeartbeat(), clock, lambda: True, counts.append).get_job(
            "expire"
        )
        occupied = threading.Thread(target=writer.write, args=(occupy,))
        occupied.start()
        assert waiting.wait(30)
        expiring = threading.Thread(target=job.func)
        expiring.start()
        expiring.join(0.3)
        clock.advance(61)
        turn.set()
        expiring.join(30)
        occupied.join(30)
    writer.close()
    assert counts == [1]
