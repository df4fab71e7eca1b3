"""A real `alertctl serve`: start, health, sending, retries, and the end on a signal."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection

import psycopg
import pytest

from alertctl import outbox
from alertctl.db import Store
from alertctl.outbox import new_delivery
from alertctl.publish import prepare, publish
from alertctl.routing import RoutingRules, Target
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest
from tests.support.cli import unmeasured
from tests.support.daemon import BASE
from tests.support.machines import free_port
from tests.support.waiting import TIMEOUT, wait_until

UNUSED = (
    *("alembic", "jwt", "cryptography", "sendgrid", "slack_sdk", "jinja2", "psycopg", "rich", "alertctl.doctor"),
    *("sqlite3", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"),
)
"""Modules that a daemon loads only for a migration, JWTs, a channel or a kind of database: each takes 2 to 10 MB."""


def _alert(title: str, to: str = "slack:#x") -> dict[str, object]:
    return {"event_type": "generic_alert", "title": title, "to": [to]}


def test_an_event_is_recorded_sent_and_logged(serve, call, sandbox: Sandbox) -> None:
    daemon = serve()
    status, receipt = call(daemon, "POST", "events", _alert("hello"))
    assert status == 202
    assert [item["status"] for item in receipt["deliveries"]] == ["pending"]
    assert "hello" in sandbox.slack.wait_for(1)[0].text
    delivery_id = receipt["deliveries"][0]["id"]
    detail = wait_until(
        lambda: (item := call(daemon, "GET", f"delivery-log/{delivery_id}")[1])["status"] == "success" and item
    )
    assert [attempt["outcome"] for attempt in detail["attempt_log"]] == ["success"]
    metrics = call(daemon, "GET", "/metrics")[1]
    assert 'alertctl_events_accepted_total{event_type="generic_alert"} 1.0' in metrics
    assert 'alertctl_deliveries_total{channel="slack",status="success"} 1.0' in metrics


def test_the_daemon_itself_loads_no_library_of_channels_databases_jwts_and_migrations() -> None:
    code = "import sys, alertctl.daemon.serve; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=unmeasured())
    assert set(ran.stdout.split()) & set(UNUSED) == set()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP], ids=lambda how: how.name)
@pytest.mark.postgres
def test_after_one_signal_it_ends_with_0_and_attempts_in_flight_are_recorded(serve, call, sandbox, store, how) -> None:
    daemon = serve()
    sandbox.slack.latency = 0.5
    for number in range(20):
        assert call(daemon, "POST", "events", _alert(f"n{number}"))[0] == 202
    wait_until(lambda: sandbox.slack.calls)
    daemon.signal_process(how)
    assert daemon.wait_for_exit() == 0
    with store.reading() as connection:
        rows = connection.exec_driver_sql("SELECT status, attempts FROM delivery").all()
        open_attempts = connection.exec_driver_sql("SELECT count(*) FROM attempt WHERE outcome IS NULL").scalar()
    assert open_attempts == 0
    assert Counter(row.status for row in rows)["success"] == len(sandbox.slack.messages)
    assert {(row.status, row.attempts) for row in rows} <= {("success", 1), ("pending", 0)}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "silent"])
def test_sigterm_ends_a_daemon_that_waits_for_its_database(serve, is_silent: bool) -> None:
    # A handler ends it, so exit code 0: PID 1 of a container is not ended by a signal without a handler.
    with ExitStack() as stack:
        database = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = database.getsockname()[1] if is_silent else free_port()
        daemon = serve(DATABASE_URL=f"postgresql://u@127.0.0.1:{port}/x")
        if is_silent:
            stack.enter_context(database.accept()[0])
        else:
            wait_until(lambda: any("waiting for the database" in line for line in daemon.log))
        daemon.signal_process(signal.SIGTERM)
        assert daemon.wait_for_exit() == 0
    assert "Traceback" not in "".join(daemon.log)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_daemon_that_waits_for_its_database_logs_a_lasting_cause_once(serve) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as database:
        daemon = serve(DATABASE_URL=f"postgresql://u@127.0.0.1:{database.getsockname()[1]}/x")
        for _ in range(4):
            with database.accept()[0] as connection:
                # Unread bytes would make the system reset the connection, which is another cause.
                connection.recv(8)
        daemon.signal_process(signal.SIGTERM)
        assert daemon.wait_for_exit() == 0
    assert "".join(daemon.log).count("waiting for the database") == 1


@pytest.mark.parametrize(("method", "path"), [("GET", "events/{}?wait=30"), ("POST", "dispatch?wait=30")])
def test_a_daemon_that_stops_answers_calls_that_wait(serve, call, sandbox, method: str, path: str) -> None:
    daemon = serve(ALERTCTL_DEADLINE="2")
    sandbox.slack.faults.always("stall")
    event_id = call(daemon, "POST", "events", _alert("stalled"))[1]["event_id"]
    wait_until(lambda: sandbox.slack.calls)
    waiting = HTTPConnection(daemon.url.removeprefix("http://"), timeout=TIMEOUT)
    with closing(waiting):
        # On an accepted connection the daemon has read a request when it answers a later one on another connection.
        waiting.request("GET", "/healthz")
        waiting.getresponse().read()
        waiting.request(method, f"{BASE}/{path.format(event_id)}", headers={"Authorization": f"Bearer {call.token}"})
        assert call(daemon, "GET", "/healthz")[0] == 200
        daemon.signal_process(signal.SIGTERM)
        assert waiting.getresponse().status == 200
    assert daemon.wait_for_exit() == 0
    assert "Traceback" not in "".join(daemon.log)


def test_a_second_sigterm_does_not_wait(serve, call, sandbox) -> None:
    daemon = serve()
    sandbox.slack.faults.always("stall")
    call(daemon, "POST", "events", _alert("stalled"))
    wait_until(lambda: sandbox.slack.calls)
    daemon.signal_process(signal.SIGTERM)
    wait_until(lambda: any("Shutting down" in line for line in daemon.log))
    daemon.signal_process(signal.SIGTERM)
    assert daemon.wait_for_exit() == 128 + signal.SIGTERM


@pytest.mark.postgres
def test_events_at_a_provider_that_fails_half_of_the_time_all_arrive_once(serve, call, sandbox, store, long) -> None:
    count = 200 if long else 50
    sandbox.slack.faults.sometimes("http_503", 0.5, seed=7)
    daemon = serve(ALERTCTL_LEASE="60")
    daemon.url  # noqa: B018  (it is up)
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(lambda n: call(daemon, "POST", "events", _alert(f"n{n}", f"slack:#c{n}")), range(count))
        )
    assert {status for status, _ in answers} == {202}
    wait_until(lambda: call(daemon, "GET", "delivery-log?status=success&limit=1")[1]["total"] == count)
    assert Counter(message.channel for message in sandbox.slack.messages) == {f"#c{n}": 1 for n in range(count)}
    assert len(sandbox.slack.calls) > count * 1.25


def test_a_fresh_critical_alert_overtakes_a_backlog_of_retries(serve, call, sandbox, store, long: bool) -> None:
    backlog = 50_000 if long else 3_000
    now = datetime.now(UTC)
    rules = RoutingRules((Target("slack", "#x", "default_channel"),), frozenset({"slack"}))
    request = PublishRequest(event_type="generic_alert", fields={"title": "old"}, to=["slack:#first"])
    old = prepare(request, rules)
    event = store.write(lambda connection: publish(connection, old, now))
    targets = (Target("slack", f"#old{n}", "named") for n in range(backlog))
    deliveries = [new_delivery(event.event_id, "generic_alert", 2, target, now) for target in targets]
    store.write(lambda connection: outbox.enqueue(connection, deliveries))
    sandbox.slack.latency = 0.02
    daemon = serve()
    wait_until(lambda: len(sandbox.slack.messages) > 50)
    accepted = datetime.now(UTC)
    body = {"event_type": "safety_rollback", "feature_flag": "checkout", "to": ["slack:#now"]}
    assert call(daemon, "POST", "events", body)[0] == 202
    fresh = wait_until(lambda: [item for item in sandbox.slack.messages if item.channel == "#now"])
    overtaken = [item for item in sandbox.slack.messages if accepted < item.at < fresh[0].at]
    assert len(overtaken) < backlog / 5


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_database_that_goes_away_means_503_and_the_daemon_comes_back(serve, call, store: Store, sandbox) -> None:
    daemon = serve()
    assert call(daemon, "GET", "/readyz")[0] == 200
    with _out_of_order(store):
        status, problem = call(daemon, "POST", "events", _alert("lost?"))
        assert status == 503
        assert problem["status"] == 503
        assert call(daemon, "GET", "/healthz")[0] == 200
        assert call(daemon, "GET", "/readyz")[0] == 503
        assert "alertctl_database_up 0.0" in call(daemon, "GET", "/metrics")[1]
    wait_until(lambda: call(daemon, "GET", "/readyz")[0] == 200)
    assert call(daemon, "POST", "events", _alert("back"))[0] == 202
    assert "back" in sandbox.slack.wait_for(1)[0].text


@contextmanager
def _out_of_order(store: Store) -> Iterator[None]:
    """Nobody may connect for a while, and all connections are cut."""
    name = store.url.database
    store.close()
    with psycopg.connect(store.url.set(drivername="postgresql", database="postgres").render_as_string(False)) as admin:
        admin.autocommit = True
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_an_open_door_is_refused(serve, sandbox) -> None:
    daemon = serve("--host", "0.0.0.0")
    assert daemon.wait_for_exit() == 2
    assert "ALERTCTL_HOST: 0.0.0.0 is reachable from other machines" in "".join(daemon.log)
    assert len(daemon.log) == 1


def test_a_port_that_is_taken_is_one_clear_line(serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        daemon = serve("--port", str(other.getsockname()[1]))
        assert daemon.wait_for_exit() == 1
    assert "Traceback" not in "".join(daemon.log)
    assert "address already in use" in "".join(daemon.log)
    assert "failed" not in "".join(daemon.log)


def test_without_its_scheduler_it_accepts_and_sends_nothing(serve, call, sandbox) -> None:
    daemon = serve("--no-scheduler")
    assert call(daemon, "POST", "events", _alert("later"))[0] == 202
    assert call(daemon, "GET", "/readyz")[0] == 200
    assert not sandbox.slack.calls
    other = serve()
    assert other.url
    sandbox.slack.wait_for(1)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_more_idle_connections_than_descriptors_delay_nobody(serve, call, sandbox, long: bool) -> None:
    descriptors = 1024 if long else 256
    daemon = serve()
    port = int(daemon.url.rpartition(":")[2])
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(descriptors + 76):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        for path in ("/healthz", "/readyz"):
            assert call(daemon, "GET", path)[0] == 200
        assert call(daemon, "POST", "events", _alert("through"))[0] == 202
        assert "through" in sandbox.slack.wait_for(1)[0].text


@pytest.mark.postgres
def test_killed_at_random_moments_nothing_is_lost_and_only_ambiguous_ones_arrive_twice(
    serve, call, sandbox, store, long: bool
) -> None:
    sandbox.slack.latency = 0.03
    names: list[str] = []
    for moment in range(30 if long else 3):
        daemon = serve(ALERTCTL_LEASE="1")
        for n in range(10):
            names.append(f"#m{moment}-{n}")
            assert call(daemon, "POST", "events", _alert("x", f"slack:{names[-1]}"))[0] == 202
        time.sleep(0.011 * (moment % 7))
        daemon.signal_process(signal.SIGKILL)
        daemon.wait_for_exit()
    last = serve(ALERTCTL_LEASE="1")
    wait_until(lambda: call(last, "GET", "delivery-log?status=success&limit=1")[1]["total"] == len(names))
    arrived = Counter(message.channel for message in sandbox.slack.messages)
    assert set(arrived) == set(names)
    with store.reading() as connection:
        marked = {
            row.address for row in connection.exec_driver_sql("SELECT address FROM delivery WHERE ambiguous").all()
        }
    assert {name for name, times in arrived.items() if times > 1} <= marked
