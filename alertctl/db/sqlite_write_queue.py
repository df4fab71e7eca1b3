"""Queue the processes and threads that want to write to one SQLite file, in the order of their arrival.

SQLite's own wait is not fair: a waiter checks the lock every 100 ms at most, and newcomers overtake it. So a writer
first locks a file beside the database, keeps that lock until it has SQLite's write lock, and then releases it. The
system wakes the processes that wait for the lock file in the order of their arrival.

The lock file only sets the order; SQLite still protects the data. Without a lock file (a read-only folder, a file
system without locks, another program) a writer waits for SQLite's lock only.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

SUFFIX = "-lock"
"""The lock file's name is the database's with this at its end, as in -wal and -shm."""
QUEUE_SECONDS = 300.0
"""How long a writer waits for its turn at most, while others get theirs: without CPU time a turn lasts a second."""
STUCK_SECONDS = 60.0
"""How long it waits while no writer gets through: the process that holds the lock file may be suspended."""
STILL_STUCK_SECONDS = 1.0
"""How long it waits the next time, when it has waited in vain."""


class WriteQueue:
    """The queue as one Store sees it. A writer that waits too long goes on without a turn."""

    def __init__(self, longest: float = QUEUE_SECONDS, stuck: float = STUCK_SECONDS) -> None:
        self._longest, self._stuck = longest, stuck
        self._in_vain = False
        self._here = threading.local()

    @contextmanager
    def turn(self, database: str) -> Iterator[None]:
        """Wait for this thread's turn to write to the file `database`, and keep it until the block ends.

        A block inside another of the same thread keeps the turn that it has.
        """
        if getattr(self._here, "has_turn", False):
            yield
            return
        handle = self._wait(database + SUFFIX)
        self._here.has_turn = True
        try:
            yield
            if handle is not None:
                # Waiting writers see by the lock file's time that one got through.
                with suppress(OSError):
                    os.utime(handle)
        finally:
            self._here.has_turn = False
            if handle is not None:
                _release(handle)

    def _wait(self, path: str) -> int | None:
        """Return the descriptor of the locked file, or None if it can't be locked."""
        try:
            handle = _open(path)
        except OSError:
            return None
        stuck = min(STILL_STUCK_SECONDS, self._stuck) if self._in_vain else self._stuck
        try:
            locked = _try_lock(handle) or _wait_for_lock(handle, self._longest, stuck)
        except (OSError, RuntimeError):
            # A file system without locks, or no room for a thread.
            os.close(handle)
            return None
        self._in_vain = not locked
        return handle if locked else None


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileNotFoundError):
        return os.open(path, flags)
    handle = os.open(path, flags | os.O_CREAT, 0o600)
    with suppress(OSError):
        # Everyone who may write to the database may lock the file, as with SQLite's -wal file.
        database = os.stat(path.removesuffix(SUFFIX))
        writers = database.st_mode & 0o222
        os.fchmod(handle, writers | writers << 1)
        if os.geteuid() == 0:
            os.fchown(handle, database.st_uid, database.st_gid)
    return handle


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(handle: int, longest: float, stuck: float) -> bool:
    """Wait for the lock, `longest` seconds at most, or until no writer got through for `stuck` seconds.

    Returns whether it was locked. flock has no timeout, and repeated tries would not be fair: so a thread waits. If it
    waits in vain, it closes the descriptor as soon as it can.
    """
    locked: Future[None] = Future()
    threading.Thread(target=_lock, args=(handle, locked), name="alertctl-write-queue", daemon=True).start()
    until = time.monotonic() + longest
    try:
        while True:
            progress = _progress(handle)
            try:
                locked.result(min(stuck, until - time.monotonic()))
                return True
            except TimeoutError:
                if time.monotonic() >= until or _progress(handle) == progress:
                    # It may have been locked at this moment.
                    return not locked.cancel()
    except KeyboardInterrupt:
        if not locked.cancel():
            _release(handle)
        raise


def _progress(handle: int) -> int:
    return os.fstat(handle).st_mtime_ns


def _lock(handle: int, locked: Future[None]) -> None:
    error = None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as refused:
        error = refused
    if not locked.set_running_or_notify_cancel():
        _release(handle)
    elif error:
        locked.set_exception(error)
    else:
        locked.set_result(None)


def _release(handle: int) -> None:
    """Unlock and close. Closing alone would not unlock while a forked process has a copy of the descriptor."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)
