"""Where a command writes to when somebody named a file: whole or not at all, whatever kind of file it is."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def replaceable(file: str) -> bool:
    """Whether another file may take its place: not of a pipe, a device, or of where our own output goes."""
    try:
        there = os.stat(file)
    except OSError:
        return True
    return stat.S_ISREG(there.st_mode) and _ours(there) is None


@contextmanager
def writing(file: str) -> Iterator[IO[str]]:
    """The file, replaced once it is written whole: nobody ever reads half of it. A link stays one.

    What isn't `replaceable` is written to as it goes. Raises OSError, and leaves what was there.
    """
    if not replaceable(file):
        with _taking(file) as out:
            yield out
        return
    target = Path(os.path.realpath(file))
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with half.open("w", encoding="utf-8", newline="") as out:
            yield out
        os.replace(half, target)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def _taking(file: str) -> IO[str]:
    ours = _ours(os.stat(file))
    if ours is None:
        return open(file, "w", encoding="utf-8", newline="")
    # Opened anew, a file behind our stdout (`/dev/stdout`) would be cut off and written to from its beginning.
    sys.stdout.flush()
    return open(os.dup(ours), "w", encoding="utf-8", newline="")


def _ours(there: os.stat_result) -> int | None:
    """Our stdout or stderr, where that is this file."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(there, os.fstat(descriptor)):
                return descriptor
    return None
