"""The command line. Importing it loads nothing: every command loads what it needs when it runs."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The console script `alertctl`. Ends the process with the command's exit code."""
    from alertctl.cli.app import app
    from alertctl.cli.border import watch_threads

    watch_threads()
    app()
