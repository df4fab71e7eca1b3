"""A database that takes no writes for a while: a failover, a standby, a full disk. The daemon isn't restarted."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import urllib3
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from alertctl.db import Store, upgrade
from alertctl.db.copy import copy
from alertctl.users import create_token
from tests.support import cli_process, postgres
from tests.support.daemon import Caller
from tests.support.database_faults import Relay, Server, counted, publish_many
from tests.support.doctor import run_doctor
from tests.support.waiting import wait_until

on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RECOVERY_SECONDS = 5


@pytest.fixture
def new_server() -> Iterator[Callable[[], Server]]:
    """Starts a Postgres that only this test knows."""
    folders: list[Path] = []

    def start() -> Server:
        folders.append(postgres.new_folder())
        return Server(folders[-1])

    yield start
    for folder in folders:
        postgres.stop(folder)


def administer(url: URL, *statements: str) -> None:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True, application_name="administrator") as connection:
        connection.execute("SET default_transaction_read_only = off")
        for statement in statements:
            connection.execute(statement)


CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def set_read_only(url: URL, on: bool, *more: str) -> None:
    """A session keeps what was set when it began: one that begins meanwhile stays read-only afterwards."""
    setting = f"default_transaction_read_only = {'on' if on else 'off'}"
    administer(url, f'ALTER DATABASE "{url.database}" SET {setting}', *more)


def alert(title: str) -> dict[str, object]:
    return {"event_type": "generic_alert", "title": title, "to": ["slack:#a"]}


def assert_takes_no_writes(call, daemon) -> None:
    wait_until(lambda: call(daemon, "POST", "events", alert("refused"))[0] == 503)
    status, problem = call(daemon, "GET", "/readyz")
    assert status == 503
    assert problem["detail"].startswith("database: cannot be reached")
    assert "alertctl_database_up 0.0" in call(daemon, "GET", "/metrics")[1]
    assert call(daemon, "GET", "/healthz")[0] == 200


def assert_takes_writes_again(call, daemon) -> None:
    wait_until(lambda: call(daemon, "POST", "events", alert("accepted"))[0] == 202, RECOVERY_SECONDS)
    wait_until(lambda: call(daemon, "GET", "/readyz")[0] == 200, RECOVERY_SECONDS)
    assert "alertctl_database_up 1.0" in call(daemon, "GET", "/metrics")[1]


@on_postgres
def test_a_postgres_that_was_read_only_is_published_to_again_without_a_restart(
    serve, call, store: Store, sandbox, tmp_path
) -> None:
    daemon = serve()
    assert call(daemon, "GET", "/readyz")[0] == 200
    set_read_only(store.url, True, CUT)
    assert_takes_no_writes(call, daemon)
    address = store.url.render_as_string(hide_password=False)
    (finding,) = [one for one in run_doctor({"DATABASE_URL": address}, tmp_path).values() if one.check == "reachable"]
    assert finding.outcome == "failure"
    assert "read-only" in finding.what
    assert "primary" in finding.fix
    server = {"ALERTCTL_SERVER": daemon.url, "ALERTCTL_TOKEN": call.token, "ALERTCTL_TIMEOUT": "3s"}
    send = [sys.executable, "-m", "alertctl", "send", "--event", "generic_alert", "--title", "spooled"]
    sent = cli_process.run(send, env={**os.environ, **server}, capture_output=True, text=True, timeout=60)
    assert (sent.returncode, "spool" in sent.stderr) == (0, True), sent.stderr

    set_read_only(store.url, False)
    assert_takes_writes_again(call, daemon)
    assert "accepted" in sandbox.slack.wait_for(1)[0].text


@on_sqlite  # the fixture's; this test brings its own
def test_a_daemon_follows_its_address_to_the_new_primary(serve, new_server, sandbox) -> None:
    """The old primary keeps its connections and only refuses to write, as behind many a proxy."""
    old, new = new_server(), new_server()
    stores = [Store(old.url), Store(new.url)]
    for store in stores:
        upgrade(store)
    now = datetime.now(UTC)
    secret = stores[0].write(lambda c: create_token(c, "admin@corp.example", "admin", None, now))[1]
    copy(*stores, now)
    relay = Relay(old.url)
    daemon = serve(DATABASE_URL=relay.url)
    with urllib3.PoolManager() as pool:
        call = Caller(secret, pool)
        assert call(daemon, "POST", "events", alert("before"))[0] == 202
        wait_until(lambda: counted(stores[0], "status = 'success'") == 1)
        relay.lead_to(new.url)
        administer(make_url(old.url), "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        wait_until(
            lambda: call(daemon, "POST", "events", alert("after"))[0] == 202 and counted(stores[1]), RECOVERY_SECONDS
        )
        assert_takes_writes_again(call, daemon)
    wait_until(lambda: counted(stores[1], "status = 'success'") == counted(stores[1]))
    wait_until(lambda: listeners(stores[1]) == 1)
    for store in stores:
        store.close()
    relay.close()


def listeners(store: Store) -> int:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
    with store.reading() as connection:
        return int(connection.execute(query).scalar_one())


def test_of_several_hosts_the_one_that_takes_writes_is_used(new_server) -> None:
    standby, primary = make_url(new_server().url), make_url(new_server().url)
    administer(standby, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    both = standby.update_query_pairs([("host", str(primary.query["host"]))], append=True)
    store = Store(both.render_as_string(hide_password=False))
    upgrade(store)
    publish_many(store, 1)
    store.close()
    alone = Store(primary.render_as_string(hide_password=False))
    assert counted(alone) == 1
    alone.close()


@on_postgres
def test_a_write_that_an_old_connection_refuses_is_done_on_a_new_one(store: Store) -> None:
    set_read_only(store.url, True, CUT)
    with store.reading(), store.reading(), store.reading():
        pass
    set_read_only(store.url, False)
    before = store.disconnects
    publish_many(store, 1)
    assert (counted(store), store.disconnects - before) == (1, 1)


@on_sqlite
def test_a_full_disk_is_not_ready_and_room_helps(serve, call, store: Store, sandbox) -> None:
    daemon = serve()
    assert call(daemon, "GET", "/readyz")[0] == 200
    with no_room(daemon.process.pid):
        assert_takes_no_writes(call, daemon)
    assert_takes_writes_again(call, daemon)
    assert "accepted" in sandbox.slack.wait_for(1)[0].text


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """The process can write to no file, as on a full disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
