"""Events that nobody could be told yet: files in the state folder, until the database or the server is back.

One file is one event with its own key, so that telling it twice records it once. A file appears and leaves whole:
whoever is killed in the middle leaves the event where it was, or one that is told again under the same key.
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
from alertctl.errors import InvalidEvent, Unreachable
from alertctl.schemas import PublishRequest
from alertctl.spool.destination import Destination, place_of
from alertctl.spool.files import Spooled, listed, locked, named, put, read_if_whole, sweep, written
from alertctl.spool.flush import EventNotAllowed, Flushed, Flushing, describe

__all__ = [
    "MOST_EVENTS",
    "Destination",
    "EventNotAllowed",
    "Flushed",
    "Spool",
    "Spooled",
    "describe",
    "key_of",
    "place_of",
]

MOST_EVENTS = 10_000
MOST_BYTES = 50_000_000
"""What a spool holds at most, the refused ones included: days of a busy CI, and not a small disk full."""
REFUSED = "refused"


def key_of(given: str | None) -> str:
    """The caller's idempotency key, else one of our own: a repeat, or a try out of the spool, tells nobody twice.

    Raises InvalidEvent.
    """
    if given is None:
        return f"once-{os.urandom(16).hex()}"
    if not re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", given):
        raise InvalidEvent("idempotency_key", "should be 1 to 255 printable ASCII characters")
    return given


class Spool:
    """The events of one folder. Nothing is created before there is one to keep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside = folder / REFUSED

    @staticmethod
    def of(environ: Mapping[str, str]) -> Spool:
        """The spool of this user, in the state folder. Raises ConfigError (see `config.state_folder`)."""
        return Spool(state_folder(environ) / "spool")

    def keep(self, request: PublishRequest, destination: Destination, cause: str, now: datetime) -> Spooled:
        """Put an event on disk, synced. Raises Unreachable when it can't be: full, or the folder isn't ours to write.

        The request needs an idempotency key, so that it is recorded once however often it is told.
        """
        assert request.idempotency_key, "an event without a key could be told twice"
        if request.said_at is None:
            request = replace(request, said_at=now)
        one = Spooled(
            id=os.urandom(4).hex(),
            request=request,
            destination=destination.place,
            cause=cause,
            kept_at=now,
            caller=destination.caller,
        )
        data = written(one)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_sure_of_room(len(data))
            put(self.folder, one.name, data)
        except FileExistsError as error:
            raise Unreachable(f"spool {self.folder}: is not a folder") from error
        except OSError as error:
            raise Unreachable(f"spool {self.folder}: {error.strerror or error}") from error
        return one

    def waiting(self) -> int:
        """How many events wait; costs one call to the system where there is no spool."""
        return len(listed(self.folder))

    def entries(self) -> tuple[list[Spooled], list[Path]]:
        """Those that wait in the order in which they will be told, then those set aside; and the damaged files.

        Raises Unreachable when the folder can't be read.
        """
        try:
            files = [*listed(self.folder, strict=True), *listed(self._aside, strict=True)]
        except OSError as error:
            raise Unreachable(f"spool {self.folder}: {error.strerror or error}") from error
        found = [(path, read_if_whole(path)) for path in files]
        return [one for _, one in found if one], [path for path, one in found if not one]

    def drop(self, ids: Sequence[str] | None) -> int:
        """Forget the events with these ids (parts that are unique will do), or all of them; returns how many.

        Raises NotFound before any is dropped, Unreachable when a file can't be removed.
        """
        files = [*listed(self.folder), *listed(self._aside)]
        chosen = files if ids is None else [named(files, part) for part in ids]
        try:
            for path in chosen:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"spool {self.folder}: {error.strerror or error}") from error
        return len(chosen)

    def flush(
        self,
        mine: Callable[[Spooled], bool],
        tell: Callable[[Spooled], object],
        *,
        until: float = float("inf"),
        patience: float = 0.0,
        ids: Sequence[str] | None = None,
    ) -> Flushed:
        """Tell the events that are `mine`, the oldest first, until the monotonic clock says `until`.

        `tell` publishes one. InvalidEvent or Conflict from it set the event aside, anything else leaves it for later.
        One process at a time: while another flushes, this one waits `patience` seconds, then leaves it to that one.
        `ids` are told whether set aside or not, and no others. Raises NotFound for an id that isn't here.
        """
        with self._alone(patience) as alone:
            if not alone:
                return Flushed(left=self.waiting(), error=Unreachable("another process is flushing it"))
            sweep(self.folder)
            files = listed(self.folder)
            if ids is not None:
                files = [named([*files, *listed(self._aside)], part) for part in ids]
            flushing = Flushing(self._aside, mine, tell, until)
            for path in files:
                flushing.take(path)
            return flushing.done

    def _make_sure_of_room(self, more: int) -> None:
        count, size = 0, more
        for path in (*listed(self.folder), *listed(self._aside)):
            with suppress(FileNotFoundError):
                count, size = count + 1, size + path.stat().st_size
        if count >= MOST_EVENTS or size > MOST_BYTES:
            raise Unreachable(
                f"spool {self.folder}: full ({count} events, {size // 1_000_000} MB): "
                "alertctl spool flush tells them, alertctl spool drop forgets them"
            )

    @contextmanager
    def _alone(self, patience: float) -> Iterator[bool]:
        """Whether this process has the spool for itself. The lock ends with the process, however that ends."""
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            # Nothing to flush, or nothing that we may see.
            yield True
            return
        try:
            yield locked(folder, time.monotonic() + patience)
        finally:
            os.close(folder)
