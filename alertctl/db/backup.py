"""A consistent copy of an SQLite file, made while others write to it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from alertctl.db.engine import BUSY_SECONDS
from alertctl.errors import AlertctlError, ConfigError, Unreachable

Advance = Callable[[int, int], None]
"""Is told how many pages are done, and how many there are."""
PAGES = 2000
"""Pages (of 4 kB) that are copied between two words about the progress."""


def backup(source: Path, file: Path, *, force: bool = False, advance: Advance = lambda _done, _all: None) -> int:
    """Write the database in `source` to `file`, checked, mode 0600; its size in bytes.

    It is written beside `file` and renamed at the end: nobody sees half of one. Raises ConfigError when `file` is there
    already (unless `force`) or can't be written, Unreachable when the source can't be read, AlertctlError when the
    backup would be damaged.
    """
    refuse(source, file, force=force)
    with _beside(file) as unfinished:
        with _reading(source) as snapshot:
            _copy_pages(source, snapshot, unfinished, advance)
        _check(unfinished)
        refuse(source, file, force=force)
        with _writing(file):
            _settle(unfinished, file)
    return file.stat().st_size


def refuse(source: Path, file: Path, *, force: bool) -> None:
    """Raises ConfigError unless a backup may be written there."""
    if file.is_dir():
        raise ConfigError([f"FILE: {file} is a folder; name a file in it"])
    if not file.absolute().parent.is_dir():
        raise ConfigError([f"FILE: there is no folder {file.absolute().parent}"])
    if file.exists() and file.samefile(source):
        raise ConfigError([f"FILE: {file} is the database itself"])
    if file.exists() and not file.is_file():
        raise ConfigError([f"FILE: {file} is no ordinary file"])
    if os.path.lexists(file) and not force:
        raise ConfigError([f"FILE: {file} is there already; --force replaces it"])
    # Its journal would be taken for the new file's.
    if Path(f"{file}-wal").exists():
        raise ConfigError([f"FILE: {file} is a database in use ({file.name}-wal is there); name another one"])


@contextmanager
def _reading(source: Path) -> Iterator[sqlite3.Connection]:
    """The source as it is now: in WAL mode an open transaction holds it still and keeps nobody from writing."""
    try:
        connection = sqlite3.connect(source, timeout=BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise Unreachable(f"database {source}: {error}") from error
    with closing(connection):
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise Unreachable(f"database {source}: {error}") from error
        yield connection


def _copy_pages(source: Path, snapshot: sqlite3.Connection, unfinished: Path, advance: Advance) -> None:
    with closing(sqlite3.connect(unfinished)) as copy:
        try:
            snapshot.backup(copy, pages=PAGES, progress=lambda _, left, pages: advance(pages - left, pages))
        except sqlite3.Error as error:
            raise AlertctlError(f"{unfinished.parent}: the backup of {source} could not be written: {error}") from error


def _check(unfinished: Path) -> None:
    with closing(sqlite3.connect(unfinished)) as copy:
        try:
            said = str(copy.execute("PRAGMA integrity_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            said = str(error)
    if said != "ok":
        raise AlertctlError(f"the database is damaged, and so would be its backup, which was not kept: {said[:200]}")


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """An unfinished file next to `file`, for its owner only; gone at the end whatever happens."""
    with _writing(file):
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".unfinished", dir=file.absolute().parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for each in (name, f"{name}-wal", f"{name}-shm", f"{name}-journal"):
            with suppress(OSError):
                os.unlink(each)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([f"FILE: {file}: {error.strerror or error}"]) from error


def _settle(unfinished: Path, file: Path) -> None:
    """To the disk first, then under its name: a power cut leaves a whole file or none."""
    _sync(unfinished)
    os.replace(unfinished, file)
    _sync(file.absolute().parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
