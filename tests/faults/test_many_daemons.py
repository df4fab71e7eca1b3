"""Several `alertctl serve` on one database: each delivery is sent once, also when one of them is frozen or killed."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime

import pytest

from alertctl.db import Store, Writer
from alertctl.sandbox import Sandbox
from tests.support.database_faults import arrived, counted, publish_many
from tests.support.waiting import wait_until

on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def started(serve, number: int, **settings: str) -> list:
    daemons = [serve(**settings) for _ in range(number)]
    for daemon in daemons:
        assert daemon.url
    return daemons


@on_postgres
def test_daemons_on_one_database_share_the_work_and_send_each_once(serve, store, sandbox, long) -> None:
    count = 10_000 if long else 200
    # On a busy machine the sandbox may need longer than the usual limit, and a lost answer is sent again.
    started(serve, 4, ALERTCTL_DEADLINE="30", ALERTCTL_LEASE="120")
    publish_many(store, count, at_once=50)
    wait_until(lambda: counted(store, "status = 'success'") == count, 100)
    assert arrived(sandbox) == {f"#c{number}": 1 for number in range(count)}
    assert counted(store, table="attempt") == count


@on_postgres
def test_a_daemon_that_was_frozen_past_its_lease_changes_nothing_when_it_wakes(serve, store, sandbox) -> None:
    sandbox.slack.latency = 1.0
    frozen = started(serve, 1, ALERTCTL_LEASE="3")[0]
    publish_many(store, 40)
    wait_until(lambda: len(sandbox.slack.calls) >= 10)
    frozen.suspend_between_transactions(store)
    sandbox.slack.latency = 0.0
    awake = started(serve, 1, ALERTCTL_LEASE="3")[0]
    wait_until(lambda: counted(store, "status = 'success'") == 40)
    attempts = _attempts_of(store)
    frozen.signal_process(signal.SIGCONT)
    time.sleep(1.5)
    assert _attempts_of(store) == attempts
    assert awake.process.poll() is None
    assert frozen.process.poll() is None
    # Sends in flight of the frozen daemon may have arrived too; then the log marks them ambiguous.
    twice = {channel for channel, times in arrived(sandbox).items() if times > 1}
    assert len(arrived(sandbox)) == 40
    with store.reading() as connection:
        marked = {row[0] for row in connection.exec_driver_sql("SELECT address FROM delivery WHERE ambiguous")}
    assert twice <= marked


def _attempts_of(store: Store) -> list:
    with store.reading() as connection:
        deliveries = connection.exec_driver_sql("SELECT id, status, attempts, provider_id FROM delivery ORDER BY id")
        attempts = connection.exec_driver_sql("SELECT delivery_id, number, outcome, code FROM attempt ORDER BY 1, 2")
        return [*map(tuple, deliveries), *map(tuple, attempts)]


@on_postgres
def test_one_of_two_daemons_is_killed_and_the_other_finishes(serve, store, sandbox: Sandbox) -> None:
    sandbox.slack.latency = 0.05
    victim, _ = started(serve, 2, ALERTCTL_LEASE="2")
    publish_many(store, 150, at_once=20)
    wait_until(lambda: len(sandbox.slack.messages) > 30)
    victim.signal_process(signal.SIGKILL)
    wait_until(lambda: counted(store, "status = 'success'") == 150)
    assert len(arrived(sandbox)) == 150
    twice = {channel for channel, times in arrived(sandbox).items() if times > 1}
    with store.reading() as connection:
        marked = {row[0] for row in connection.exec_driver_sql("SELECT address FROM delivery WHERE ambiguous")}
    assert twice <= marked
    assert counted(store, "outcome IS NULL", "attempt") == 0


def test_an_event_published_by_another_process_wakes_a_daemon(serve, store, sandbox) -> None:
    """A daemon polls two seconds after its last claim, thus two seconds after the last arrival."""
    (daemon,) = started(serve, 1)
    waits = []
    for number in range(9):
        began = time.monotonic()
        publish_many(store, 1, prefix=f"wake{number}-")
        wait_until(lambda expected=number + 1: len(sandbox.slack.messages) == expected)
        waits.append(time.monotonic() - began)
    assert sum(wait < 1.5 for wait in waits[1:]) >= 3, waits
    assert daemon.process.poll() is None


def test_daemons_that_start_at_once_on_an_empty_database_all_come_up(
    serve, database_url, request, tmp_path, long
) -> None:
    number = 10 if long else 3
    lite = database_url.startswith("sqlite")
    url = f"sqlite:///{tmp_path / 'new.db'}" if lite else request.getfixturevalue("empty_postgres_url")
    daemons = [serve("--no-scheduler", DATABASE_URL=url) for _ in range(number)]
    for daemon in daemons:
        assert daemon.url
    for daemon in daemons:
        daemon.signal_process(signal.SIGTERM)
    assert [daemon.wait_for_exit() for daemon in daemons] == [0] * number


def test_a_daily_job_is_done_by_a_single_daemon(store) -> None:
    from alertctl.daemon.scheduler import first_of_period

    now = datetime.now(UTC)
    writers = [Writer(store) for _ in range(6)]
    futures = [writer.submit_later(_first, (first_of_period, day, now)) for day in ("d1", "d2") for writer in writers]
    firsts = [future.result() for future in futures]
    for writer in writers:
        writer.close()
    assert (sum(firsts[:6]), sum(firsts[6:])) == (1, 1)


def _first(connection, items):
    return [first(connection, "prune", day, now) for first, day, now in items]
