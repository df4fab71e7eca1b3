"""Publish spooled events, one file at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from alertctl.config.folders import make_private_folder
from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed, Unreachable
from alertctl.spool.files import Spooled, read, requeue_last, to_json, write_file

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


def flush_files(
    files: Iterable[Path],
    aside: Path,
    belongs_here: Callable[[Spooled], bool],
    publish: Callable[[Spooled], object],
    until: float,
) -> Flushed:
    """Publish the files' events one by one (see `Spool.flush`)."""
    flushed = Flushed()
    failures_in_a_row = 0
    for path in files:
        spooled = _read_or_set_aside(path, aside, flushed)
        if spooled is None or not belongs_here(spooled):
            continue
        if failures_in_a_row == MAX_FAILURES_IN_A_ROW or time.monotonic() >= until:
            flushed.remaining += 1
            continue
        try:
            publish(spooled)
        except (InvalidEvent, Conflict) as error:
            failures_in_a_row = 0
            refused = replace(spooled, refused=str(error))
            _set_aside(path, aside, refused)
            flushed.refused.append(refused)
        except Exception as error:
            failures_in_a_row += not isinstance(error, EventNotAllowed)
            flushed.remaining += 1
            flushed.error = error
            requeue_last(path, spooled, describe(error))
        else:
            failures_in_a_row = 0
            flushed.published += 1
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                # Harmless: publishing it again under its key records nothing.
                flushed.error = Unreachable(f"published, but {path} cannot be removed: {error.strerror or error}")
    return flushed


def _read_or_set_aside(path: Path, aside: Path, flushed: Flushed) -> Spooled | None:
    """Return a file's event. Set a damaged file aside; None also for one that another process has dropped.

    A file that can't be read now stays: its permissions or its disk may be corrected.
    """
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        flushed.remaining += 1
        if flushed.error is None:
            flushed.error = Unreachable(f"{path} cannot be read: {error.strerror or error}")
        return None
    except ValueError as error:
        flushed.damaged.append(f"{path.name}: {error}")
    with suppress(OSError):
        make_private_folder(aside)
        os.replace(path, aside / path.name)
    return None


def _set_aside(path: Path, aside: Path, spooled: Spooled) -> None:
    """Move a refused event, with the reason, to the folder of refused events."""
    with suppress(OSError):
        make_private_folder(aside)
        write_file(aside, path.name, to_json(spooled))
        if path.parent != aside:
            path.unlink(missing_ok=True)
