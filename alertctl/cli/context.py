"""Settings and clients for a command, from its context."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import typer

from alertctl.cli.output.streams import messages, warn

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.config import Settings


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        messages.print("error" if record.levelno >= logging.ERROR else "warning", message, f"alertctl: {message}")


def flags_of(context: typer.Context) -> dict[str, object]:
    """Return the settings given as flags before the command's name, by NAME."""
    return context.find_root().obj or {}


def settings_of(context: typer.Context, **flags: object) -> Settings:
    """Return the settings with the flags before the command's name, and `flags`, by NAME. Raises ConfigError."""
    from alertctl.config import load

    speak_up()
    return load(flags={**flags_of(context), **flags})


def warn_about_settings(context: typer.Context) -> None:
    """Warn on stderr about variables that nothing reads (see `config.warnings`)."""
    from alertctl.config.warnings import warnings

    for name, message in warnings(flags=flags_of(context)):
        warn(f"{name}: {message}")


def client_of(context: typer.Context, *, tolerate: bool = False) -> AbstractContextManager[Client]:
    """Return the client that the settings select; it publishes spooled events after the command. Raises ConfigError."""
    from alertctl.cli.spool_flush import flush_spool_after

    return flush_spool_after(context, connected(context, tolerate=tolerate))


def connected(context: typer.Context, *, tolerate: bool = False) -> Client:
    """Return the client that the settings select (see `client.connect`)."""
    from alertctl.client import connect

    speak_up()
    return connect(flags_of(context), tolerate=tolerate)


def speak_up() -> None:
    """Print the package's log warnings on stderr; `alertctl serve` writes a log instead."""
    log = logging.getLogger("alertctl")
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        log.addHandler(_ToStderr(logging.WARNING))
