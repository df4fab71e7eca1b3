"""The command line. Importing it loads nothing: every command loads what it needs when it runs."""

from __future__ import annotations

import gc
import sys

__all__ = ["run"]


def run() -> None:
    """Run the console script `alertctl`. Ends the process with the command's exit code."""
    # Imported modules stay. Looking through them for garbage takes a tenth of a short command's time.
    gc.set_threshold(500_000)
    try:
        from alertctl.cli.errors import watch_threads
        from alertctl.cli.main import app

        watch_threads()
        app()
    except KeyboardInterrupt:
        # Ctrl-C while modules load, before a command has begun. Later, Typer ends the process in the same way.
        sys.exit(130)
    finally:
        # Skip the garbage collection at the interpreter's end: it takes a fifth of a short command's time.
        gc.freeze()
