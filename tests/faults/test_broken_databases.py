"""A database that is killed, cut off, locked, full, read-only, or none at all."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import make_url

from alertctl.client.local import LocalClient
from alertctl.config import load
from alertctl.db import Store, upgrade
from alertctl.errors import ConfigError, Unreachable
from alertctl.sandbox import Sandbox
from alertctl.schemas import LogFilter
from tests.support import cli_process
from tests.support.database_faults import Pooler, Relay, arrived, counted, publish_many
from tests.support.waiting import wait_until

on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def persist(call, daemon, number: int) -> int:
    """Publish until it is accepted, as a good caller does; returns how often the answer asked for a retry."""
    body = {"event_type": "generic_alert", "title": "x", "to": [f"slack:#n{number}"]}
    for refused in range(200):
        status, _ = call(daemon, "POST", "events", body, Idempotency_Key=f"job-{number}")
        if status == 202:
            return refused
        assert status == 503, status
        time.sleep(0.1)
    raise AssertionError("never accepted")


@on_sqlite  # the fixture's; this test brings its own
def test_postgres_restarted_at_once_in_mid_load_loses_nothing(own_server, sandbox: Sandbox, serve) -> None:
    from datetime import UTC, datetime

    import urllib3

    from alertctl.users import create_token
    from tests.support.daemon import Caller

    store = Store(own_server.url)
    upgrade(store)
    secret = store.write(lambda c: create_token(c, "admin@corp.example", "admin", None, datetime.now(UTC)))[1]
    sandbox.slack.latency = 0.05
    daemon = serve(DATABASE_URL=own_server.url, ALERTCTL_SENDERS="8")
    assert daemon.url
    with urllib3.PoolManager(maxsize=20) as pool, ThreadPoolExecutor(8) as threads:
        call = Caller(secret, pool)
        calls = [threads.submit(persist, call, daemon, number) for number in range(120)]
        wait_until(lambda: len(sandbox.slack.messages) > 20)
        own_server.restart_at_once()
        for call in calls:
            call.result()
    wait_until(lambda: _quietly(lambda: counted(store, "status = 'success'") == 120))
    assert set(arrived(sandbox)) == {f"#n{number}" for number in range(120)}
    twice = {channel for channel, times in arrived(sandbox).items() if times > 1}
    with store.reading() as connection:
        marked = {row[0] for row in connection.exec_driver_sql("SELECT address FROM delivery WHERE ambiguous")}
    assert twice <= marked
    assert counted(store, table="event") == 120
    assert daemon.process.poll() is None
    store.close()


def test_a_follower_survives_a_restart_of_the_database(own_server, caplog) -> None:
    store = Store(own_server.url)
    upgrade(store)
    with LocalClient(load({"DATABASE_URL": own_server.url}, Path.cwd())) as client:
        changes = client.follow(LogFilter())
        assert next(changes) is None
        own_server.stop_at_once()
        assert [next(changes), next(changes)] == [None, None]
        assert [line.levelname for line in caplog.records if "retrying" in line.message] == ["WARNING"]
        own_server.start()
        wait_until(lambda: _quietly(lambda: publish_many(store, 1, "after") is None))
        assert next(filter(None, changes)).to == "#after0"
        changes.close()
    store.close()


def _quietly(true):
    try:
        return true()
    except Unreachable:
        return False


@on_postgres
def test_connections_that_are_cut_in_mid_transaction_lose_nothing(serve, store, sandbox, call) -> None:
    daemon = serve()
    assert daemon.url
    ending = threading.Event()

    def cut() -> None:
        url = store.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True, application_name="the knife") as knife:
            while not ending.wait(0.3):
                knife.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'alertctl'"
                )

    knife = threading.Thread(target=cut)
    knife.start()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: persist(call, daemon, number), range(120)))
    ending.set()
    knife.join()
    wait_until(lambda: _quietly(lambda: counted(store, "status = 'success'") == 120))
    assert set(arrived(sandbox)) == {f"#n{number}" for number in range(120)}
    assert counted(store, table="event") == 120


@on_sqlite
def test_sqlite_locked_by_another_process_is_waited_for(serve, store, sandbox, call, long) -> None:
    daemon = serve()
    assert daemon.url
    locker = sqlite3.connect(store.url.database, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(persist, call, daemon, number) for number in range(8)]
        time.sleep(10 if long else 2)
        assert not any(call.done() for call in calls)
        locker.execute("ROLLBACK")
        assert sum(call.result() for call in calls) == 0
    locker.close()
    wait_until(lambda: len(sandbox.slack.messages) == 8)


SEND = [
    sys.executable,
    "-m",
    "alertctl",
    "send",
    "--event",
    "generic_alert",
    "--title",
    "x" * 20_000,
    "--to",
    "slack:#a",
]


def send(url: str, sandbox: Sandbox, **more) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **sandbox.settings(), "DATABASE_URL": url}
    return cli_process.run([*SEND, "--strict"], env=environment, capture_output=True, text=True, timeout=60, **more)


def read_integrity(path: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        events = "SELECT count(*) FROM event"
        bare = "SELECT count(*) FROM event WHERE id NOT IN (SELECT event_id FROM delivery)"
        return [connection.execute(query).fetchone() for query in (events, bare)]


def test_a_full_disk_is_reported_and_nothing_is_half_written(tmp_path, sandbox) -> None:
    path = tmp_path / "full.db"
    url = f"sqlite:///{path}"
    assert send(url, sandbox).returncode == 0
    limit = path.stat().st_size + 16_384

    def no_room() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    refused = send(url, sandbox, preexec_fn=no_room)
    tries = 1
    while refused.returncode == 0 and tries < 20:
        refused, tries = send(url, sandbox, preexec_fn=no_room), tries + 1
    assert refused.returncode == 5
    assert "Traceback" not in refused.stderr
    assert str(path) in refused.stderr
    assert [row for (row,) in read_integrity(path)][1] == 0
    assert send(url, sandbox).returncode == 0
    assert [row for (row,) in read_integrity(path)][1] == 0


@pytest.mark.parametrize("content", [b"this is a letter\n" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_reported_and_not_changed(tmp_path, sandbox, content) -> None:
    path = tmp_path / "letter.db"
    path.write_bytes(content)
    ran = send(f"sqlite:///{path}", sandbox)
    assert ran.returncode == 5
    assert str(path) in ran.stderr
    assert "Traceback" not in ran.stderr
    assert path.read_bytes() == content


@pytest.mark.skipif(os.geteuid() != 0, reason="chattr needs root; without it the file's mode says the same")
def test_as_root_a_path_below_a_file_is_reported(tmp_path, sandbox) -> None:
    (tmp_path / "file").write_text("")
    ran = send(f"sqlite:///{tmp_path / 'file' / 'a.db'}", sandbox)
    assert ran.returncode == 5
    assert "Traceback" not in ran.stderr


def test_a_read_only_database_is_reported(tmp_path, sandbox) -> None:
    path = tmp_path / "a.db"
    assert send(f"sqlite:///{path}", sandbox).returncode == 0
    refused = send(f"sqlite:///file:{path}?mode=ro&uri=true", sandbox)
    assert refused.returncode == 5
    assert "readonly" in refused.stderr.replace("-", "").replace(" ", "")
    assert "Traceback" not in refused.stderr


def test_a_publisher_in_process_sees_one_clear_error(store) -> None:
    publish_many(store, 1)
    gone = Store("postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(Unreachable, match="127"):
        publish_many(gone, 1)
    gone.close()


def counted_in(connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM event").scalar())


def test_a_server_that_falls_silent_is_abandoned_and_connected_anew(postgres_url) -> None:
    relay = Relay(postgres_url)
    store = Store(relay.url)

    @event.listens_for(store.engine, "connect")
    def set_short_timeout(connection, _record) -> None:
        connection.answer_timeout = 0.5

    publish_many(store, 1, "before")
    relay.fall_silent()
    publish_many(store, 1, "after")
    with pytest.raises(Unreachable, match="no answer in"):
        store.write(lambda connection: (relay.fall_silent(), counted_in(connection)))
    assert counted(store) == 2
    store.close()
    relay.close()


def test_a_missing_right_and_a_missing_table_are_reported_in_one_line(postgres_url) -> None:
    owner, role = Store(postgres_url), f"reader_{os.getpid()}"
    owner.write(lambda connection: connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'a-password'"))
    url = owner.url.set(username=role, password="a-password")
    reader = Store(url.render_as_string(hide_password=False))
    with pytest.raises(Unreachable, match="permission denied for table event"):
        publish_many(reader, 1)
    reader.close()
    owner.write(lambda connection: connection.exec_driver_sql(f"DROP ROLE {role}"))
    owner.write(lambda connection: connection.exec_driver_sql("DROP TABLE event CASCADE"))
    with pytest.raises(Unreachable, match=r'relation "event" does not exist$'):
        publish_many(owner, 1)
    owner.close()


def test_a_database_of_another_encoding_is_refused_before_its_first_table(postgres_url) -> None:
    name = f"ascii_{os.getpid()}"
    admin = psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True)
    admin.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    store = Store(make_url(postgres_url).set(database=name).render_as_string(hide_password=False))
    with pytest.raises(ConfigError, match="encoding SQL_ASCII; use a database created with ENCODING 'UTF8'"):
        upgrade(store)
    store.close()
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.close()


@on_sqlite
@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_was_taken_away_takes_nothing_more(store, tmp_path, again) -> None:
    """Rows would go on into a file that nobody can find any more."""
    path = Path(str(store.url.database))
    publish_many(store, 3)
    store.engine.dispose()
    with store.reading() as connection:
        assert counted_in(connection) == 3
    path.unlink()
    if again:
        other = Store(f"sqlite:///{tmp_path / 'other.db'}")
        upgrade(other)
        other.close()
        (tmp_path / "other.db").rename(path)
        publish_many(store, 1)
        assert counted(store) == 1
        return
    with pytest.raises(Unreachable, match="no such table"):
        publish_many(store, 1)


def test_no_statement_is_prepared_through_a_transaction_pooler(postgres_url) -> None:
    pooler = Pooler(postgres_url)
    for store, prepared in ((Store(postgres_url), True), (Store(pooler.url), False)):
        with store.reading() as connection:
            for _ in range(10):
                connection.exec_driver_sql("SELECT 1 + 1").all()
            names = connection.exec_driver_sql("SELECT name FROM pg_prepared_statements").all()
        assert bool(names) is prepared
        store.close()
    pooler.close()
