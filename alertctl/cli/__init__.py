"""The command line. Importing it loads nothing: every command loads what it needs when it runs."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """The console script `alertctl`. Ends the process with the command's exit code."""
    try:
        _run()
    except KeyboardInterrupt:
        # Ctrl-C before a command has begun, while modules load: later on Typer ends it in the same way.
        sys.exit(130)
    finally:
        # The interpreter's end looks through all that there is once more, which is a fifth of a short command.
        gc.freeze()


def _run() -> None:
    # What an import makes stays: looking through it for garbage again and again is a tenth of a short command.
    gc.set_threshold(500_000)
    from alertctl.cli.errors import watch_threads
    from alertctl.cli.main import app

    watch_threads()
    app()
