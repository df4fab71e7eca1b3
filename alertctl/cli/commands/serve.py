"""`alertctl serve`: the daemon."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Annotated

import typer

from alertctl.cli.context import flags_of, settings_of, warn_about_settings
from alertctl.config import read_readable
from alertctl.errors import AlertctlError


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
        bool, typer.Option("--no-scheduler", help="Serve the HTTP API only; another daemon sends and retries.")
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

    log_format = read_readable(flags=flags_of(context))[0].get("ALERTCTL_LOG_FORMAT")
    if log_format is not None and log_format.text.strip().lower() == "json":
        code = _serve_with_json_log(context, host, port, scheduler=not no_scheduler)
    else:
        warn_about_settings(context)
        code = run(settings_of(context, ALERTCTL_HOST=host), host, port, scheduler=not no_scheduler)
    if code:
        raise typer.Exit(code)


def _serve_with_json_log(context: typer.Context, host: str | None, port: int | None, *, scheduler: bool) -> int:
    """Serve, and write also warnings and errors of the start as JSON. Returns the exit code."""
    from alertctl.config import load
    from alertctl.config.warnings import warnings
    from alertctl.daemon import serve as run
    from alertctl.daemon.logging import configure_logging, log_uncaught_exceptions

    configure_logging("info", "json", ())
    log_uncaught_exceptions()
    log = logging.getLogger("alertctl.daemon")
    flags = {**flags_of(context), "ALERTCTL_HOST": host}
    for name, message in warnings(flags=flags):
        log.warning("%s: %s", name, message)
    try:
        return run(load(flags=flags), host, port, scheduler=scheduler)
    except AlertctlError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_code
    except Exception as error:
        log.exception("unexpected: %s", type(error).__name__)
        return 1
