"""`alertctl db`: status, upgrade, backup and copy, as people call them."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from alertctl.db import HEAD, Store
from tests.support import cli_process
from tests.support.cli import COMMAND, data, process, run, start

WRITER = """
import sqlite3, sys, uuid
from tests.support import cli_process
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
print("writing", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    for table in ("one", "two"):
        connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (str(uuid.uuid4()), "x" * 500))
    connection.execute("COMMIT")
"""
"""A process that writes without a rest; in every transaction one row into each of two tables."""


@pytest.fixture
def logged(log_on: str) -> str:
    """Return the URL of a database with two deliveries."""
    data("send", "--event", "generic_alert", "--title", "Disk", "--to", "slack:#a", "--to", "email:a@corp.example")
    return log_on


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    """Return an SQLite file with two deliveries."""
    data("send", "--event", "generic_alert", "--title", "Disk", "--to", "slack:#a", "--to", "email:a@corp.example")
    return tmp_path / "alertctl.db"


def changed(url: str, statement: str) -> None:
    store = Store(url)
    store.write(lambda connection: connection.execute(text(statement)))
    store.close()


def one_line(ran, *words: str) -> bool:
    return ran.stderr.count("\n") == 1 and all(word in ran.stderr for word in words)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- status, upgrade ---


@pytest.mark.postgres
def test_status_shows_the_address_version_size_and_rows(logged):
    info = data("db", "status")
    assert (info["state"], info["version"], info["known"], info["origin"]) == (
        "current",
        HEAD,
        HEAD,
        "environment",
    )
    assert info["engine"].startswith("SQLite 3." if logged.startswith("sqlite") else "PostgreSQL 1")
    assert info["size_bytes"] > 10_000
    counted = {row["table"]: (row["count"], row["exact"]) for row in info["rows"]}
    assert (counted["event"], counted["delivery"], counted["users"]) == ((1, True), (2, True), (0, True))
    table = run("db", "status")
    assert table.stderr == ""
    assert "rows in delivery" in table.stdout


@pytest.mark.usefixtures("no_database")
def test_status_of_what_is_not_there_makes_nothing(tmp_path):
    ran = run("--database", f"sqlite:///{tmp_path / 'no' / 'such.db'}", "db", "status", "-o", "json")
    assert (ran.exit_code, json.loads(ran.stdout)["state"]) == (0, "missing")
    assert one_line(ran, "doesn't exist yet")
    assert files(tmp_path) == set()


def test_status_of_an_empty_database_makes_no_tables(empty_postgres_url):
    for _ in range(2):
        ran = run("--database", empty_postgres_url, "db", "status", "-o", "json")
        assert (ran.exit_code, json.loads(ran.stdout)["state"]) == (0, "empty")


@pytest.mark.parametrize(("version", "state", "hint"), [("0001", "behind", "db upgrade"), ("9999", "newer", "newer")])
def test_status_reports_a_due_upgrade_and_does_not_upgrade(logged, version, state, hint):
    changed(logged, f"UPDATE alertctl_version SET version_num = '{version}'")
    for _ in range(2):
        ran = run("db", "status", "-o", "json")
        assert (ran.exit_code, json.loads(ran.stdout)["state"]) == (0, state)
        assert one_line(ran, hint)


def test_status_of_a_database_that_is_away_is_5_and_hides_the_password():
    ran = run("--database", "postgresql://alert:hunter2secret@127.0.0.1:1/alerts", "db", "status")
    assert (ran.exit_code, ran.stdout) == (5, "")
    assert one_line(ran, "127.0.0.1")
    assert "hunter2secret" not in ran.stderr


def test_upgrade_prints_both_versions_and_then_that_nothing_is_to_do(monkeypatch, tmp_path, empty_postgres_url):
    for url in (f"sqlite:///{tmp_path / 'new.db'}", empty_postgres_url):
        monkeypatch.setenv("DATABASE_URL", url)
        assert data("db", "upgrade") == {"from": None, "to": HEAD, "upgraded": True}
        assert one_line(run("db", "upgrade"), "nothing to do", HEAD)


def test_foreign_tables_are_not_touched(empty_postgres_url):
    changed(empty_postgres_url, "CREATE TABLE users (id int)")
    ran = run("--database", empty_postgres_url, "db", "upgrade")
    assert ran.exit_code == 2
    assert one_line(ran, "DATABASE_URL: ", "users", "use a separate database")


@pytest.mark.parametrize("words", [("db", "status"), ("db", "copy", "--to", "sqlite:///new.db")])
def test_db_never_goes_through_a_server(monkeypatch, words):
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("ALERTCTL_SERVER", "http://127.0.0.1:1")
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_" + "x" * 43)
    ran = run(*words)
    assert ran.exit_code == 2
    assert one_line(ran, "DATABASE_URL: ", "ALERTCTL_SERVER")


# --- backup ---


def test_a_backup_can_be_read_and_is_for_its_owner_only(lite, tmp_path):
    assert data("db", "backup", "copy.db")["file"] == str(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert data("--database", "sqlite:///copy.db", "log")["total"] == 2
    assert data("--database", "sqlite:///copy.db", "db", "status")["details"]["journal_mode"] == "wal"


def test_a_backup_is_of_one_moment_while_others_write_without_a_rest(lite, tmp_path, long):
    with closing(sqlite3.connect(lite)) as connection:
        for table in ("one", "two"):
            connection.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, filling TEXT)")
            filling = ((str(number), "x" * 500) for number in range(200_000 if long else 20_000))
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", filling)
        connection.commit()
    with cli_process.Popen([sys.executable, "-c", WRITER, str(lite)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            before = counted(lite)
            ran = run("db", "backup", "copy.db")
            after = counted(lite)
        finally:
            writer.kill()
    assert (ran.exit_code, ran.stdout) == (0, "copy.db\n")
    first, second = counted(tmp_path / "copy.db")
    assert first == second
    assert before[0] <= first <= after[0]
    assert before < after, "it was to be written to"


def counted(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)").fetchone()


def test_a_backup_replaces_only_by_force_and_never_a_database_in_use(lite, tmp_path):
    (tmp_path / "kept.txt").write_text("dear diary")
    refused = run("db", "backup", "kept.txt")
    assert (refused.exit_code, (tmp_path / "kept.txt").read_text()) == (2, "dear diary")
    assert one_line(refused, "FILE: ", "--force")
    assert run("db", "backup", "--force", "kept.txt").exit_code == 0
    assert data("--database", "sqlite:///kept.txt", "log")["total"] == 2
    with closing(sqlite3.connect(tmp_path / "kept.txt")) as reader:
        reader.execute("SELECT count(*) FROM event").fetchone()
        in_use = run("db", "backup", "--force", "kept.txt")
    assert in_use.exit_code == 2
    assert one_line(in_use, "FILE: ", "in use")


@pytest.mark.parametrize(
    ("file", "message"),
    [(".", "is a folder"), ("no/such/folder.db", "there is no folder"), ("alertctl.db", "is the database itself")],
)
def test_a_backup_that_cannot_be_written_is_one_line(lite, tmp_path, file, message):
    before = files(tmp_path)
    ran = run("db", "backup", "--force", file)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert one_line(ran, "FILE: ", message)
    assert files(tmp_path) == before


def test_a_disk_that_is_full_leaves_no_half_backup(lite, tmp_path):
    fill(lite, 5_000)
    before = files(tmp_path)
    command = f"ulimit -f 400; {sys.executable} -m alertctl db backup copy.db"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert one_line(ran, "the backup", "could not be written")
    assert files(tmp_path) == before


def test_a_damaged_database_gives_no_backup(lite, tmp_path):
    with closing(sqlite3.connect(lite)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_delivery_status'").fetchone()
    with lite.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    before = files(tmp_path)
    ran = run("db", "backup", "copy.db")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert one_line(ran, "damaged")
    assert files(tmp_path) - before <= {"alertctl.db-wal", "alertctl.db-shm"}


@pytest.mark.usefixtures("no_database")
def test_there_is_no_backup_of_what_is_not_there(tmp_path):
    ran = run("db", "backup", "copy.db")
    assert ran.exit_code == 2
    assert one_line(ran, "DATABASE_URL: there is no ", "alertctl.db")
    assert files(tmp_path) == set()


@pytest.mark.usefixtures("no_database")
def test_on_postgres_backup_names_pg_dump_without_the_password(tmp_path):
    ran = run("--database", "postgresql://u:hunter2secret@h:5433/d?password=hunter2secret", "db", "backup", "a b.db")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert one_line(ran, "pg_dump --format=custom '--file=a b.db' postgresql://u@h:5433/d\n")
    assert "hunter2secret" not in ran.stderr
    assert files(tmp_path) == set()


# --- copy ---


def test_copy_shows_what_it_did_table_by_table(logged, tmp_path):
    ran = run("db", "copy", "--to", f"sqlite:///{tmp_path / 'new.db'}")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.split("\n")[0].split() == ["TABLE", "SOURCE", "TARGET", "ADDED", "CHANGED", "REMOVED"]
    assert ["delivery", "2", "2", "2", "0", "0"] in [line.split() for line in ran.stdout.splitlines()]
    again = data("db", "copy", "--to", f"sqlite:///{tmp_path / 'new.db'}")
    assert again["complete"]
    assert {row["added"] for row in again["items"]} == {0}
    assert data("--database", f"sqlite:///{tmp_path / 'new.db'}", "log")["items"] == data("log")["items"]


@pytest.mark.postgres
def test_copy_to_postgres_and_go_on_there(lite, empty_postgres_url, monkeypatch):
    before = data("log")
    assert data("db", "copy", "--to", empty_postgres_url)["complete"]
    monkeypatch.setenv("DATABASE_URL", empty_postgres_url)
    assert data("log") == before
    data("send", "--event", "generic_alert", "--title", "More", "--to", "slack:#a")
    assert data("log")["total"] == 3


@pytest.mark.usefixtures("no_database")
def test_copy_from_what_is_not_there_makes_nothing(tmp_path):
    ran = run("db", "copy", "--to", "sqlite:///new.db")
    assert ran.exit_code == 2
    assert one_line(ran, "DATABASE_URL: there is no ")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("to", ["mysql://h/d", "nonsense", "sqlite:///:memory:", "sqlite:///alertctl.db"])
def test_a_target_that_cannot_be_one_is_named(lite, to):
    ran = run("db", "copy", "--to", to)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert one_line(ran, "--to: ")


def test_a_target_of_somebody_else_is_named(lite, empty_postgres_url):
    changed(empty_postgres_url, "CREATE TABLE event (id int)")
    ran = run("db", "copy", "--to", empty_postgres_url)
    assert ran.exit_code == 2
    assert one_line(ran, "--to: ", "has a table event")


def test_a_target_that_is_away_is_5_and_hides_the_password(lite):
    ran = run("db", "copy", "--to", "postgresql://alert:hunter2secret@127.0.0.1:1/alerts")
    assert (ran.exit_code, ran.stdout) == (5, "")
    assert one_line(ran, "127.0.0.1")
    assert "hunter2secret" not in ran.stderr


def test_an_incomplete_copy_ends_with_1_and_an_instruction(lite, tmp_path):
    data("db", "copy", "--to", "sqlite:///new.db")
    skip = "CREATE TRIGGER deaf BEFORE INSERT ON delivery BEGIN SELECT RAISE(IGNORE); END"
    changed(f"sqlite:///{tmp_path / 'new.db'}", skip)
    data("send", "--event", "generic_alert", "--title", "More", "--to", "slack:#b")
    ran = run("db", "copy", "--to", "sqlite:///new.db")
    assert ran.exit_code == 1
    assert one_line(ran, "delivery: 3 rows in the old database, 2 in the new one")


def test_ctrl_c_ends_with_130_and_a_hint_to_run_the_copy_again(lite, tmp_path):
    fill(lite, 40_000)
    copying = start("db", "copy", "--to", "sqlite:///new.db")
    while not (tmp_path / "new.db-wal").exists() or not rows_in(tmp_path / "new.db"):
        assert copying.poll() is None
        time.sleep(0.01)
    copying.send_signal(signal.SIGINT)
    out, stderr = copying.communicate(timeout=30)
    assert (copying.returncode, out) == (130, "")
    assert stderr == "alertctl: interrupted; run it again to continue\n"
    assert data("db", "copy", "--to", "sqlite:///new.db")["complete"]


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'change_counter'").fetchone()[0]
        return connection.execute("SELECT count(*) FROM event").fetchone()[0] if there else 0


def fill(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        columns = "event_type, severity, fields, occurred_at, created_at"
        series = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        values = "event_type, severity, fields, occurred_at, created_at"
        connection.execute(
            f"INSERT INTO event (id, {columns}) {series} SELECT printf('%032d', i), {values} FROM n, event"
        )
        connection.commit()


def test_a_terminal_sees_bars_and_a_file_doesnt(lite, tmp_path):
    ours, theirs = pty.openpty()
    for words in (("db", "backup", "copy.db"), ("db", "copy", "--to", "sqlite:///new.db")):
        environ = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
        ran = cli_process.run([*COMMAND, *words], stdout=subprocess.PIPE, stderr=theirs, env=environ, check=True)
        shown = os.read(ours, 100_000).decode()
        assert "100%" in shown
        assert ("pages" if "backup" in words else "delivery") in shown
        assert b"%" not in ran.stdout
    os.close(ours)
    os.close(theirs)
    assert process("db", "copy", "--to", "sqlite:///new.db").stderr == ""
