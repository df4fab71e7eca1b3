"""SQLite: how files are made, opened and set up."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url

from alertctl.config.folders import make_private_folder
from alertctl.errors import Unreachable

BUSY_SECONDS = 15.0
"""Seconds that a statement waits for another process's lock on an SQLite file."""
_WAL = b"\x02\x02"
"""Bytes 18 and 19 of a file in WAL mode (https://www.sqlite.org/fileformat.html)."""


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database, which may not exist; None for a server's database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database.removeprefix("file:")).expanduser()


def open_file(file: str, **options: Any) -> sqlite3.Connection:
    """Connect to a file; a new one is made with mode 0600, which SQLite also gives its -wal and -shm.

    In a folder that can't be written, SQLite can't open a file in WAL mode, unless it is told that nobody writes to
    it. That is so while there is no -wal.
    """
    with suppress(OSError):
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Whatever the umask.
        os.fchmod(handle, 0o600)
        os.close(handle)
    if _is_immutable(file):
        file, options = f"file:{quote(file)}?immutable=1", options | {"uri": True}
    connection: sqlite3.Connection = sqlite3.connect(file, **options)
    return connection


def _is_immutable(file: str) -> bool:
    folder = os.path.dirname(os.path.abspath(file))
    if os.access(folder, os.W_OK, effective_ids=True) or os.path.exists(f"{file}-wal"):
        return False
    with suppress(OSError), open(file, "rb") as opened:
        return opened.read(20)[18:] == _WAL
    return False


def sqlite_engine(url: URL, pool_size: int) -> Engine:
    if url.database and not url.database.startswith((":memory:", "file:")):
        try:
            make_private_folder(Path(url.database).expanduser().absolute().parent)
        except OSError as error:
            cause = error.strerror or error
            raise Unreachable(f"database {url.database}: {cause}; check the folder and DATABASE_URL") from error
    engine = create_engine(
        url, pool_size=pool_size, max_overflow=4, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "checkout", _refuse_outdated)
    event.listen(engine, "begin", _begin)
    return engine


def _connect(_dialect: Any, record: Any, arguments: Any, named: Any) -> sqlite3.Connection | None:
    if named.get("uri") or arguments[0] == ":memory:":
        return None
    record.info["immutable"] = _is_immutable(arguments[0])
    return open_file(*arguments, **named)


def _set_up(connection: Any, record: Any) -> None:
    try:
        # The driver must not begin transactions by itself: we begin them, immediate where we write.
        connection.isolation_level = None
        cursor = connection.cursor()
        file = cursor.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
        record.info["file"] = file, _identity(file)
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # FULL: an answer "recorded" survives a power cut, not only a crash of the process.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()
    except sqlite3.Error:
        # The pool doesn't know this connection yet, so nobody else closes it.
        connection.close()
        raise


def _refuse_outdated(_connection: Any, record: Any, _proxy: Any) -> None:
    """Refuse a connection to a file that was removed or replaced: what it writes would be lost.

    Refuse a connection for a file that nobody writes to when somebody does: it would not see the changes.
    """
    file, opened = record.info["file"]
    if opened is not None and _identity(file) != opened:
        raise exc.DisconnectionError(f"{file} was removed or replaced")
    if record.info.get("immutable") and not _is_immutable(file):
        raise exc.DisconnectionError(f"{file} is written to")


def _identity(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("alertctl_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
