"""The command line. Importing it loads nothing: every command loads what it needs when it runs."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The console script `alertctl`. Ends the process with the command's exit code."""
    import gc

    # What an import makes stays: looking through it for garbage again and again is a tenth of a short command.
    gc.set_threshold(500_000)
    from alertctl.cli.app import app
    from alertctl.cli.border import watch_threads

    watch_threads()
    app()
