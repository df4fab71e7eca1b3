"""Events that could not reach the database or the server, kept as files in the state folder until one is back.

Each file is one event with its own idempotency key, so publishing it twice records it once. Files are written and
removed atomically: a process that is killed in between leaves the event where it was, or publishes it again under the
same key.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from alertctl.config import state_folder
from alertctl.config.folders import make_private_folder
from alertctl.errors import InvalidEvent, Unreachable
from alertctl.schemas import PublishRequest
from alertctl.spool.destination import Destination, database_address
from alertctl.spool.files import (
    Spooled,
    find_file,
    list_files,
    lock_folder,
    read,
    remove_abandoned,
    to_json,
    write_file,
)
from alertctl.spool.flush import EventNotAllowed, Flushed, describe, flush_files

__all__ = [
    "MOST_EVENTS",
    "Destination",
    "EventNotAllowed",
    "Flushed",
    "Spool",
    "Spooled",
    "database_address",
    "describe",
    "key_of",
]

MOST_EVENTS = 10_000
MOST_BYTES = 50_000_000
"""Limits of a spool, refused events included: enough for days of a busy CI without filling a small disk."""


def key_of(caller_key: str | None) -> str:
    """Return the caller's idempotency key, else a random one. Raises InvalidEvent."""
    if caller_key is None:
        return f"once-{os.urandom(16).hex()}"
    if not re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", caller_key):
        raise InvalidEvent("idempotency_key", "should be 1 to 255 printable ASCII characters")
    return caller_key


class Spool:
    """The events of one folder. Nothing is created before the first event is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside = folder / "refused"

    @staticmethod
    def of(environ: Mapping[str, str]) -> Spool:
        """Return this user's spool, in the state folder. Raises ConfigError (see `config.state_folder`)."""
        return Spool(state_folder(environ) / "spool")

    def keep(self, request: PublishRequest, destination: Destination, cause: str, now: datetime) -> Spooled:
        """Write an event to disk, synced. Raises Unreachable when the spool is full or can't be written."""
        assert request.idempotency_key, "an event without a key could be sent twice"
        if request.originally_published_at is None:
            request = replace(request, originally_published_at=now)
        spooled = Spooled(
            id=os.urandom(4).hex(),
            request=request,
            destination=destination.address,
            cause=cause,
            kept_at=now,
            caller=destination.caller,
        )
        data = to_json(spooled)
        with self._disk_errors():
            make_private_folder(self.folder)
            self._check_room(len(data))
            write_file(self.folder, spooled.name, data)
        return spooled

    def waiting(self, *, strict: bool = False) -> int:
        """Return how many events wait; one system call where there is no spool.

        When the folder can't be read, return 0, or raise Unreachable if `strict`.
        """
        with self._disk_errors():
            return len(list_files(self.folder, strict=strict))

    def entries(self) -> tuple[list[Spooled], list[str]]:
        """Return the waiting events in the order of their publication, then those set aside; and faults of other files.

        Raises Unreachable when the folder can't be read.
        """
        events: list[Spooled] = []
        faults: list[str] = []
        with self._disk_errors():
            files = [*list_files(self.folder, strict=True), *list_files(self._aside, strict=True)]
        for path in files:
            try:
                events.append(read(path))
            except FileNotFoundError:
                # Another process has published or dropped it.
                continue
            except OSError as error:
                faults.append(f"{path} cannot be read: {error.strerror or error}")
            except ValueError:
                faults.append(f"{path}: not an alertctl event, or damaged")
        return events, faults

    def drop(self, ids: Sequence[str] | None) -> int:
        """Delete the events with these ids (a unique part of each is enough), or all of them; return how many.

        Raises NotFound before any is dropped, Unreachable when a file can't be removed.
        """
        files = [*list_files(self.folder), *list_files(self._aside)]
        chosen = files if ids is None else [find_file(files, part) for part in ids]
        with self._disk_errors():
            for path in chosen:
                path.unlink(missing_ok=True)
        return len(chosen)

    def flush(
        self,
        belongs_here: Callable[[Spooled], bool],
        publish: Callable[[Spooled], object],
        *,
        until: float = float("inf"),
        timeout: float = 0.0,
        ids: Sequence[str] | None = None,
    ) -> Flushed:
        """Publish the events that `belongs_here` accepts, oldest first, until the monotonic clock reaches `until`.

        `publish` publishes one event. InvalidEvent or Conflict from it sets the event aside; after any other error the
        event stays for later. Only one process flushes at a time: another one waits `timeout` seconds, then gives up.
        With `ids`, only these are published, also those set aside. Raises NotFound for an unknown id.
        """
        with self._locked(timeout) as is_locked:
            if not is_locked:
                return Flushed(remaining=self.waiting(), error=Unreachable("another process is flushing it"))
            remove_abandoned(self.folder)
            files = list_files(self.folder)
            if ids is not None:
                files = [find_file([*files, *list_files(self._aside)], part) for part in ids]
            return flush_files(files, self._aside, belongs_here, publish, until)

    def _check_room(self, more: int) -> None:
        count, size = 0, more
        for path in (*list_files(self.folder), *list_files(self._aside)):
            with suppress(FileNotFoundError):
                count, size = count + 1, size + path.stat().st_size
        if count >= MOST_EVENTS or size > MOST_BYTES:
            raise Unreachable(
                f"spool {self.folder}: full ({count} events, {size // 1_000_000} MB): "
                "publish them with alertctl spool flush, or delete them with alertctl spool drop"
            )

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Raise Unreachable for an OSError."""
        try:
            yield
        except FileExistsError as error:
            raise Unreachable(f"spool {self.folder}: is not a folder") from error
        except OSError as error:
            raise Unreachable(f"spool {self.folder}: {error.strerror or error}") from error

    @contextmanager
    def _locked(self, timeout: float) -> Iterator[bool]:
        """Yield whether this process holds the spool's lock. The lock ends with the process, however that ends."""
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # There is no folder, or we may not read it: nothing to flush.
            yield True
            return
        try:
            yield lock_folder(folder, time.monotonic() + timeout)
        finally:
            os.close(folder)
