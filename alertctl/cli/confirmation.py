"""Ask for confirmation before data is deleted."""

from __future__ import annotations

import sys

import typer

from alertctl.cli.output.streams import messages
from alertctl.errors import InvalidEvent


def require_confirmation(question: str, loss: str) -> None:
    """Ask on a terminal. Raises typer.Exit for "no"; InvalidEvent, which names the loss, where nobody can answer."""
    if messages.as_json or not (sys.stdin and sys.stdin.isatty()):
        need = "with -o json" if messages.as_json else "without a terminal"
        raise InvalidEvent("--yes", f"is required {need}; it confirms the {loss}")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
