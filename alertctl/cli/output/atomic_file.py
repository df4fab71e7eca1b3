"""Write files atomically: the complete file or nothing. Pipes and devices are written directly."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from alertctl.config.folders import resolve_link


def is_replaceable(file: str) -> bool:
    """Return whether a file can be replaced: not a pipe, a device, or the file behind our own stdout or stderr."""
    try:
        status = os.stat(file)
    except OSError:
        return True
    return stat.S_ISREG(status.st_mode) and _own_descriptor(status) is None


@contextmanager
def atomic_write(file: str) -> Iterator[IO[str]]:
    """Open a file that is replaced once it is completely written, so that no reader sees half of it. Links stay links.

    An existing file keeps its mode. A file that is not `is_replaceable` is written directly. Raises OSError, and then
    leaves the old content.
    """
    target = resolve_link(file)
    if not is_replaceable(file):
        with _open_directly(file) as out:
            yield out
        return
    unfinished = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    # In a folder that others write to, nobody can put a link in its place.
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as out:
            with suppress(FileNotFoundError):
                os.fchmod(handle, stat.S_IMODE(target.stat().st_mode))
            yield out
        os.replace(unfinished, target)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _open_directly(file: str) -> IO[str]:
    descriptor = _own_descriptor(os.stat(file))
    if descriptor is None:
        return open(file, "w", encoding="utf-8", newline="")
    # Opening the file behind our stdout (`/dev/stdout`) by name would truncate it.
    sys.stdout.flush()
    return open(os.dup(descriptor), "w", encoding="utf-8", newline="")


def _own_descriptor(status: os.stat_result) -> int | None:
    """Return the descriptor of our stdout or stderr, if it is this file."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(descriptor)):
                return descriptor
    return None
