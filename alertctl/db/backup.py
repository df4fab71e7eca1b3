"""Write a consistent copy of an SQLite file while other processes write to it."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from alertctl.config.folders import resolve_link
from alertctl.db.sqlite import BUSY_SECONDS, open_file
from alertctl.errors import AlertctlError, ConfigError, Unreachable

Advance = Callable[[int, int], None]
"""Called with the number of pages that are done, and of all pages."""
PAGES = 2000
"""Pages (of 4 kB) that are copied between two reports of progress."""


def backup(source: Path, file: Path, *, force: bool = False, advance: Advance = lambda _done, _all: None) -> int:
    """Write the database in `source` to `file`, checked. Returns its size in bytes.

    Its mode is 0600, or that of the file that it replaces. It is written beside `file` and renamed at the end, so
    `file` is never incomplete. If `file` is a link, the file that it points to is replaced. Raises ConfigError if
    `file` exists (unless `force`) or can't be written, Unreachable if the source can't be read, AlertctlError if the
    backup would be damaged.
    """
    check_file(source, file, force=force)
    with _config_errors(file):
        target = resolve_link(file)
    with _unfinished_file(target) as unfinished:
        _copy_pages(source, unfinished, advance)
        _check(unfinished)
        check_file(source, file, force=force)
        with _config_errors(file):
            # Synced, so that a power cut leaves a complete file or none.
            _sync(unfinished)
            with suppress(FileNotFoundError):
                os.chmod(unfinished, stat.S_IMODE(target.stat().st_mode))
            os.replace(unfinished, target)
            _sync(target.parent)
    return target.stat().st_size


def check_file(source: Path, file: Path, *, force: bool) -> None:
    """Raise ConfigError unless a backup may be written to `file`."""
    with _config_errors(file):
        if file.is_dir():
            raise ConfigError([f"FILE: {file} is a folder; name a file in it"])
        target = resolve_link(file)
        if not target.parent.is_dir():
            raise ConfigError([f"FILE: there is no folder {target.parent}"])
        if file.exists() and file.samefile(source):
            raise ConfigError([f"FILE: {file} is the database itself; name another file"])
        if file.exists() and not file.is_file():
            raise ConfigError([f"FILE: {file} is not a regular file; name another one"])
        if os.path.lexists(file) and not force:
            raise ConfigError([f"FILE: {file} exists; --force replaces it"])
        # SQLite would apply that journal to the new file.
        if Path(f"{target}-wal").exists():
            raise ConfigError([f"FILE: {file} is a database in use ({target.name}-wal exists); name another file"])


def _copy_pages(source: Path, unfinished: Path, advance: Advance) -> None:
    try:
        with closing(open_file(str(source), timeout=BUSY_SECONDS, isolation_level=None)) as snapshot:
            # In WAL mode a transaction sees one state and doesn't block writers.
            snapshot.execute("BEGIN")
            snapshot.execute("SELECT count(*) FROM sqlite_master").fetchone()
            _write_pages(snapshot, unfinished, advance)
    except sqlite3.Error as error:
        raise Unreachable(f"database {source}: {error}") from error


def _write_pages(snapshot: sqlite3.Connection, unfinished: Path, advance: Advance) -> None:
    try:
        with closing(sqlite3.connect(unfinished)) as copy:
            snapshot.backup(copy, pages=PAGES, progress=lambda _, remaining, pages: advance(pages - remaining, pages))
    except sqlite3.Error as error:
        raise AlertctlError(f"the backup could not be written to {unfinished.parent}: {error}") from error


def _check(unfinished: Path) -> None:
    with closing(sqlite3.connect(unfinished)) as copy:
        try:
            result = str(copy.execute("PRAGMA integrity_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            result = str(error)
    if result != "ok":
        raise AlertctlError(f"the database is damaged, so no backup was written: {result[:200]}")


@contextmanager
def _unfinished_file(file: Path) -> Iterator[Path]:
    """Make an unfinished file beside `file`, readable by its owner only, and remove it at the end in any case."""
    with _config_errors(file):
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".unfinished", dir=file.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for path in (name, f"{name}-wal", f"{name}-shm", f"{name}-journal"):
            with suppress(OSError):
                os.unlink(path)


@contextmanager
def _config_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([f"FILE: {file}: {error.strerror or error}"]) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
