"""Progress bars and notices on stderr. Bars appear only on a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alertctl.cli.output.streams import eprint, messages

NOTICE_SECONDS = 5.0


@contextmanager
def bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that shows progress: a bar's name, how much is done, and the total (None: no bar is shown)."""
    if messages.as_json or not (sys.stderr and sys.stderr.isatty()):
        yield lambda _name, _done, _all: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bars: dict[str, Any] = {}

        def advance(name: str, done: int, total: int | None) -> None:
            if name not in bars and total:
                bars[name] = progress.add_task(name)
            if total:
                progress.update(bars[name], completed=done, total=total)

        yield advance


@contextmanager
def waiting_notice(text: str, seconds: float = NOTICE_SECONDS) -> Iterator[None]:
    """Print a line on stderr if the block takes longer than `seconds`."""
    timer = threading.Timer(seconds, eprint, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
