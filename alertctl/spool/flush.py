"""Publish spooled events, one file at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed
from alertctl.spool.files import Spooled, move, read, remove_published, requeue_last, to_json, write_file

MAX_FAILURES_IN_A_ROW = 2
"""Failed events in a row after which a flush stops: a single one may itself be the cause."""


class EventNotAllowed(NotAllowed):
    """This event's own token is refused; other events' tokens may be accepted."""


@dataclass(slots=True)
class Flushed:
    """The result of a flush. `remaining` events still wait because of `error`; None when only time ran out."""

    published: int = 0
    refused: list[Spooled] = field(default_factory=list)
    remaining: int = 0
    error: Exception | None = None
    damaged: list[str] = field(default_factory=list)

    @property
    def trouble(self) -> str | None:
        return None if self.error is None else describe(self.error)


def describe(error: Exception) -> str:
    """Return an error's message on one line."""
    if isinstance(error, AlertctlError):
        return "; ".join(str(error).splitlines())
    return f"unexpected: {type(error).__name__}: {error}"


class SpoolFlush:
    """One flush: publishes its files one by one and collects the result."""

    def __init__(
        self,
        aside: Path,
        belongs_here: Callable[[Spooled], bool],
        publish: Callable[[Spooled], object],
        until: float,
    ) -> None:
        self.result = Flushed()
        self._aside, self._belongs_here, self._publish, self._until = aside, belongs_here, publish, until
        self._failures_in_a_row = 0

    def process(self, path: Path) -> None:
        try:
            spooled = read(path)
        except FileNotFoundError:
            # Another process has dropped it.
            return
        except (OSError, ValueError) as error:
            self.result.damaged.append(f"{path.name}: {error}")
            move(path, self._aside)
            return
        if not self._belongs_here(spooled):
            return
        if self._failures_in_a_row == MAX_FAILURES_IN_A_ROW or time.monotonic() >= self._until:
            self.result.remaining += 1
        else:
            self._try(path, spooled)

    def _try(self, path: Path, spooled: Spooled) -> None:
        try:
            self._publish(spooled)
        except (InvalidEvent, Conflict) as error:
            self._failures_in_a_row = 0
            self.result.refused.append(set_aside(path, self._aside, replace(spooled, refused=str(error))))
        except Exception as error:
            self._failures_in_a_row += not isinstance(error, EventNotAllowed)
            self.result.remaining += 1
            self.result.error = error
            requeue_last(path, spooled, describe(error))
        else:
            self._failures_in_a_row = 0
            self.result.published += 1
            self.result.error = remove_published(path) or self.result.error


def set_aside(path: Path, aside: Path, spooled: Spooled) -> Spooled:
    """Move a refused event, with the reason, to the folder of refused events."""
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        write_file(aside, path.name, to_json(spooled))
        if path.parent != aside:
            path.unlink(missing_ok=True)
    return spooled
