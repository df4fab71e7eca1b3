"""The spool's files: whole or not there at all."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alertctl.errors import NotFound, Unreachable
from alertctl.schemas import Moment, PublishRequest, as_json, from_json

LARGEST = 6_000_000
"""Bytes that are read of one file at most; `send` takes 4 MB of fields."""
ABANDONED = 3600.0
"""Seconds after which a half-written file is nobody's any more."""
_NAME = re.compile(r"\d{8}T\d{6}Z-([0-9a-f]{8})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """One event that waits. `destination` is the database or server it was meant for, `cause` why it waits.

    `caller` is the SHA-256 of the token it was to be published with. `refused` is why it was set aside: it isn't told
    by itself any more. `said_at` of the request is when it was first said.
    """

    id: str
    request: PublishRequest
    destination: str
    cause: str
    kept_at: Moment
    caller: str | None = None
    refused: str | None = None

    @property
    def name(self) -> str:
        return f"{self.kept_at:%Y%m%dT%H%M%SZ}-{self.id}.json"


def listed(folder: Path, *, strict: bool = False) -> list[Path]:
    """Our files of a folder, the one that waits longest without having been tried first; others' files aren't ours."""
    found: list[tuple[int, str]] = []
    try:
        with os.scandir(folder) as files:
            for file in files:
                if _NAME.fullmatch(file.name):
                    with suppress(FileNotFoundError):
                        found.append((file.stat(follow_symlinks=False).st_mtime_ns, file.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        if strict:
            raise
    return [folder / name for _, name in sorted(found)]


def named(files: Sequence[Path], part: str) -> Path:
    fitting = [path for path in files if part and part.lower() in path.name.removesuffix(".json").lower()]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise NotFound(f"no event in the spool has an id with {part[:60]!r} in it: alertctl spool list shows them")
    raise NotFound(f"{part[:60]!r} fits {len(fitting)} events in the spool: give more of the id")


def written(one: Spooled) -> bytes:
    return json.dumps({name: as_json(getattr(one, name)) for name in Spooled.__slots__}).encode()


def read(path: Path) -> Spooled:
    """What a file holds. Raises OSError, ValueError when it is none of ours or damaged."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"larger than {LARGEST // 1_000_000} MB")
    try:
        one = from_json(Spooled, json.loads(data))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    request: Any = one.request
    texts = (one.id, one.destination, request.event_type, request.idempotency_key)
    if not all(isinstance(each, str) and each for each in texts):
        raise ValueError("no event of ours")
    if not isinstance(request.fields, dict) or not isinstance(request.to, list):
        raise ValueError("no event of ours")
    return one


def read_if_whole(path: Path) -> Spooled | None:
    try:
        return read(path)
    except (OSError, ValueError):
        return None


def put(folder: Path, name: str, data: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut. Raises OSError."""
    half = folder / f".{name}.{os.getpid()}"
    try:
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, folder / name)
    except OSError:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(path: Path, folder: Path) -> None:
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        os.replace(path, folder / path.name)


def removed(path: Path) -> Unreachable | None:
    """Take an event out that was told; why that failed. It is harmless: its key was used."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return Unreachable(f"told, but {path} can't be removed: {error.strerror or error}")
    return None


def postpone(path: Path, one: Spooled, cause: str) -> None:
    """Let the other events go first next time, and note why this one still waits."""
    if cause != one.cause:
        with suppress(OSError):
            put(path.parent, path.name, written(replace(one, cause=cause)))
            return
    with suppress(OSError):
        os.utime(path)


def sweep(folder: Path) -> None:
    """Remove what somebody who was killed left half-written."""
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if file.name.startswith(".") and ".json." in file.name:
                with suppress(OSError):
                    if time.time() - file.stat(follow_symlinks=False).st_mtime > ABANDONED:
                        os.unlink(file.path)


def locked(folder: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        except OSError:
            # A file system without locks: the events' keys alone keep them from being told twice.
            return True
