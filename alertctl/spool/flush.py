"""Telling what has waited, event by event."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed
from alertctl.spool.files import Spooled, move, postpone, put, read, removed, written

IN_A_ROW = 2
"""Events that can't be told one after the other before the rest is left for later: one alone may be to blame itself."""


class EventNotAllowed(NotAllowed):
    """This event's own token is refused; the others may have better ones."""


@dataclass(slots=True)
class Flushed:
    """What a flush did. `left`: events of its own that still wait; `error`: why, None when only time ran out."""

    told: int = 0
    refused: list[Spooled] = field(default_factory=list)
    left: int = 0
    error: Exception | None = None
    damaged: list[str] = field(default_factory=list)

    @property
    def trouble(self) -> str | None:
        return None if self.error is None else describe(self.error)


def describe(error: Exception) -> str:
    """Return what an error says, on one line."""
    if isinstance(error, AlertctlError):
        return "; ".join(str(error).splitlines())
    return f"unexpected: {type(error).__name__}: {error}"


class Flushing:
    """One flush, file by file."""

    def __init__(
        self, aside: Path, mine: Callable[[Spooled], bool], tell: Callable[[Spooled], object], until: float
    ) -> None:
        self.done = Flushed()
        self._aside, self._mine, self._tell, self._until = aside, mine, tell, until
        self._in_a_row = 0

    def take(self, path: Path) -> None:
        try:
            one = read(path)
        except FileNotFoundError:
            # Dropped, a moment ago.
            return
        except (OSError, ValueError) as error:
            self.done.damaged.append(f"{path.name}: {error}")
            move(path, self._aside)
            return
        if not self._mine(one):
            return
        if self._in_a_row == IN_A_ROW or time.monotonic() >= self._until:
            self.done.left += 1
        else:
            self._try(path, one)

    def _try(self, path: Path, one: Spooled) -> None:
        try:
            self._tell(one)
        except (InvalidEvent, Conflict) as error:
            self._in_a_row = 0
            self.done.refused.append(set_aside(path, self._aside, replace(one, refused=str(error))))
        except Exception as error:
            self._in_a_row += not isinstance(error, EventNotAllowed)
            self.done.left += 1
            self.done.error = error
            postpone(path, one, describe(error))
        else:
            self._in_a_row = 0
            self.done.told += 1
            self.done.error = removed(path) or self.done.error


def set_aside(path: Path, aside: Path, one: Spooled) -> Spooled:
    """Keep an event that will never be taken, with the reason, out of the others' way."""
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        put(aside, path.name, written(one))
        if path.parent != aside:
            path.unlink(missing_ok=True)
    return one
