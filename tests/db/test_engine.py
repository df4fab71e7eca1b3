"""The engine, its transactions, and the line a person reads when the database is away."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from alertctl.config.database_url import database_url
from alertctl.db import HEAD, Store, current_version, upgrade
from alertctl.errors import ConfigError, Unreachable
from tests.support.deliveries import announce


@pytest.fixture
def sqlite_store(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'alertctl.db'}")
    upgrade(store)
    yield store
    store.close()


def impatient(store: Store) -> Store:
    """The same store, waiting 50 ms for somebody else's lock instead of 15 s."""
    event.listen(store.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 50"))
    store.engine.dispose()
    return store


def one_line(error: BaseException, *words: str) -> bool:
    message = str(error)
    return "\n" not in message and all(word in message for word in words)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 15_000)],
)
def test_every_connection_to_sqlite_is_durable_and_patient(sqlite_store, pragma, value):
    with sqlite_store.reading() as first, sqlite_store.reading() as second:
        values = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for connection in (first, second)]
    assert values == [value, value]


def test_postgres_is_asked_in_utc_and_never_for_long(postgres_url):
    store = Store(postgres_url)
    with store.reading() as connection:
        shown = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("TimeZone", "statement_timeout")]
    store.close()
    assert shown == ["UTC", "30s"]


def test_connection_parameters_of_the_url_are_kept(postgres_url):
    store = Store(
        f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-csearch_path%3Dmine&application_name=ci"
    )
    with store.reading() as connection:
        names = ("search_path", "application_name", "statement_timeout", "client_encoding")
        shown = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]
    store.close()
    assert shown == ["mine", "ci", "30s", "UTF8"]


def test_work_that_raises_writes_nothing(store):
    def half_done(connection):
        connection.execute(text("INSERT INTO run (job, period, started_at) VALUES ('prune', '1', '2026-03-02 00:00')"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(half_done)
    with store.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM run")).scalar() == 0


def test_reading_changes_nothing(store):
    with store.reading() as connection:
        connection.execute(text("INSERT INTO run (job, period, started_at) VALUES ('prune', '1', '2026-03-02 00:00')"))
    with store.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM run")).scalar() == 0


def test_a_database_folder_that_cannot_be_made_is_unreachable_and_names_the_setting(tmp_path):
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(Unreachable, match="check the folder and DATABASE_URL"):
        Store(f"sqlite:///{blocker}/a/alertctl.db")


def test_a_file_that_is_no_database_is_unreachable_in_one_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 1000)
    store = Store(f"sqlite:///{path}")
    with pytest.raises(Unreachable) as caught:
        upgrade(store)
    store.close()
    assert one_line(caught.value, str(path), "not a database")
    assert path.read_text().startswith("Dear diary")


def test_a_read_only_file_is_unreachable_for_writing_in_one_line(sqlite_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    announce(sqlite_store, "slack:#a")
    sqlite_store.close()
    # Permission bits don't stop root: the file is opened read-only instead.
    store = Store(f"sqlite:///file:{tmp_path / 'alertctl.db'}?mode=ro&uri=true")
    with pytest.raises(Unreachable) as caught:
        announce(store, "slack:#b")
    store.close()
    assert one_line(caught.value, "readonly")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [], "a URI is not a path to make folders for"


@pytest.mark.parametrize(("migrated", "lock"), [(True, "EXCLUSIVE"), (False, "IMMEDIATE")])
def test_a_file_that_another_process_has_locked_is_unreachable_in_one_line(tmp_path, migrated, lock):
    path = tmp_path / "alertctl.db"
    store = impatient(Store(f"sqlite:///{path}"))
    if migrated:
        upgrade(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE IF NOT EXISTS theirs (x)")
        other.execute(f"BEGIN {lock}")
        with pytest.raises(Unreachable) as caught:
            announce(store, "slack:#a") if migrated else upgrade(store)
    assert one_line(caught.value, str(path), "locked")
    upgrade(store)
    announce(store, "slack:#a")
    store.close()


def test_a_folder_that_cannot_be_made_is_unreachable_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable) as caught:
        Store(f"sqlite:///{tmp_path}/file/alertctl.db")
    assert one_line(caught.value, str(tmp_path))


def test_a_missing_folder_is_made_for_its_owner_only(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/state/alertctl.db")
    upgrade(store)
    store.close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_server_that_does_not_answer_is_unreachable_without_its_password():
    store = Store("postgresql+psycopg://alert:hunter2secret@127.0.0.1:1/alerts")
    with pytest.raises(Unreachable) as caught:
        upgrade(store)
    store.close()
    assert one_line(caught.value, "127.0.0.1")
    assert "hunter2secret" not in str(caught.value)


def test_a_password_among_the_parameters_of_a_url_is_not_shown():
    store = Store("postgresql+psycopg:///alerts?host=/nowhere&user=alert&password=hunter2secret")
    with pytest.raises(Unreachable) as caught:
        upgrade(store)
    store.close()
    assert one_line(caught.value, "/nowhere", "user=alert")
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "://", "postgresql+psycopg://db/alerts?nonsense=1"])
def test_an_address_that_is_none_is_a_config_error_that_names_its_variable(url):
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: "):
        Store(url)


def test_a_full_disk_is_unreachable_and_nothing_is_half_written(sqlite_store):
    with sqlite_store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    event.listen(sqlite_store.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages + 4}"))
    sqlite_store.engine.dispose()
    with pytest.raises(Unreachable, match="full"):
        announce(sqlite_store, *(f"slack:#channel-{number}" for number in range(1000)))
    with sqlite_store.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM event")).scalar() == 0
    announce(sqlite_store, "slack:#a")


def interrupted(store: Store) -> None:
    """A query is broken off, and tidying up behind it fails."""
    with store.reading() as connection:
        try:
            raise KeyboardInterrupt
        finally:
            connection.execute(text("SELECT nonsense"))


def test_an_error_that_only_came_of_ctrl_c_is_ctrl_c(store):
    with pytest.raises(KeyboardInterrupt):
        interrupted(store)


@pytest.mark.parametrize("form", ["{folder}", "127.0.0.1:1,{folder}:{port}", "{folder},{folder}"])
def test_libpqs_forms_of_hosts_connect(postgres_url, form):
    url = make_url(postgres_url)
    folder, port = str(url.query["host"]), url.port or 5432
    hosts = form.format(folder=quote(folder, safe=""), port=port)
    store = Store(database_url(f"postgresql://{url.username}@{hosts}/{url.database}"))
    assert current_version(store) == HEAD
    store.close()
