"""`alertctl serve`: the daemon."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from alertctl.cli.context import settings_of, warn_about_settings


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on (ALERTCTL_HOST, else 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="Port (ALERTCTL_PORT, else 8000); 0 picks a free one."),
    ] = None,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Accept events only; another daemon sends and retries.")
    ] = False,
) -> None:
    """
    \b
    alertctl serve
    alertctl serve --host 0.0.0.0 --port 8080
    alertctl serve --no-scheduler

    Serve the HTTP API, send due deliveries and retry failed ones. SIGTERM stops it cleanly.
    """
    # As the first process of a container (PID 1) it would ignore SIGTERM until the daemon handles it.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    from alertctl.daemon import serve as run

    warn_about_settings(context)
    code = run(settings_of(context, ALERTCTL_HOST=host), host, port, scheduler=not no_scheduler)
    if code:
        raise typer.Exit(code)
