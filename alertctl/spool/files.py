"""The spool's files: each is written and removed atomically."""

from __future__ import annotations

import errno
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

from alertctl.errors import NotFound
from alertctl.schemas import Moment, PublishRequest, as_json, from_json, with_current_names

LARGEST = 6_000_000
"""Bytes of one file at most; `send` takes 4 MB of fields."""
ABANDONED = 3600.0
"""Seconds after which a half-written file counts as abandoned by its writer."""
_NOT_A_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)
"""Errors of opening a link, a folder or a socket."""
_NAME = re.compile(r"\d{8}T\d{6}Z-([0-9a-f]{8})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A spooled event. `destination` is the database or server it was meant for, `cause` why it waits.

    `caller` is the SHA-256 of the token for its publication. `refused` is why it was set aside: it is only published
    when it is named. The field names are the file's keys.
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


def list_files(folder: Path, *, strict: bool = False) -> list[Path]:
    """Return the spool's files in a folder, oldest modification first; other files are ignored."""
    entries: list[tuple[int, str]] = []
    try:
        with os.scandir(folder) as files:
            for file in files:
                if _NAME.fullmatch(file.name):
                    with suppress(FileNotFoundError):
                        entries.append((file.stat(follow_symlinks=False).st_mtime_ns, file.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        if strict:
            raise
    return [folder / name for _, name in sorted(entries)]


def find_file(files: Sequence[Path], part: str) -> Path:
    """Return the only file with this part in its event's id, the name's end. Raises NotFound."""
    matching = [path for path in files if part and part.lower() in path.stem.rpartition("-")[2].lower()]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise NotFound(f"no spooled event has an id that contains {part[:60]!r}; list them with alertctl spool list")
    raise NotFound(f"{part[:60]!r} matches {len(matching)} spooled events; give more of the id")


def to_json(spooled: Spooled) -> bytes:
    return json.dumps({name: as_json(getattr(spooled, name)) for name in Spooled.__slots__}).encode()


def read(path: Path) -> Spooled:
    """Return a file's event. Raises OSError, and ValueError for a damaged or foreign file."""
    try:
        with open(path, "rb", opener=_open_no_link) as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise ValueError("not a regular file") from error
        raise
    if len(data) > LARGEST:
        raise ValueError(f"larger than {LARGEST // 1_000_000} MB")
    try:
        values = json.loads(data)
        if isinstance(values, dict) and isinstance(values.get("request"), dict):
            values["request"] = with_current_names(values["request"])
        spooled = from_json(Spooled, values)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    request: Any = spooled.request
    texts = (spooled.id, spooled.destination, request.event_type, request.idempotency_key)
    are_texts = all(isinstance(text, str) and text for text in texts)
    if not are_texts or not isinstance(request.fields, dict) or not isinstance(request.to, list):
        raise ValueError("not a spooled event")
    return spooled


def _open_no_link(path: str, flags: int) -> int:
    """Open a file, but neither follow a link nor wait for a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def write_file(folder: Path, name: str, data: bytes) -> None:
    """Write a file atomically, also in case of a power cut. Raises OSError."""
    temporary = folder / f".{name}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            # Whatever the umask.
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / name)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def requeue_last(path: Path, spooled: Spooled, cause: str) -> None:
    """Move an event behind all others, and store why it still waits."""
    if cause != spooled.cause:
        with suppress(OSError):
            write_file(path.parent, path.name, to_json(replace(spooled, cause=cause)))
            return
    with suppress(OSError):
        os.utime(path)


def remove_abandoned(folder: Path) -> None:
    """Remove the half-written files of processes that were killed."""
    with suppress(OSError), os.scandir(folder) as files:
        for file in files:
            if file.name.startswith(".") and ".json." in file.name:
                with suppress(OSError):
                    if time.time() - file.stat(follow_symlinks=False).st_mtime > ABANDONED:
                        os.unlink(file.path)


def lock_folder(folder: int, until: float) -> bool:
    """Lock an open folder, waiting until the monotonic clock reaches `until`; return whether it worked."""
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        except OSError:
            # A file system without locks: only the idempotency keys prevent duplicates.
            return True
