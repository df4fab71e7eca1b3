"""`alertctl dispatch --once`: send what is due, then end; for plain cron."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.output.streams import Output, OutputOption, print_json, print_line, warn
from alertctl.errors import AlertctlError, InvalidEvent


def dispatch(
    context: typer.Context,
    once: Annotated[
        bool,
        typer.Option("--once", help="Required: send due deliveries, then exit. To keep running, use `alertctl serve`."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl dispatch --once
    * * * * * alertctl dispatch --once       # in a crontab
    alertctl dispatch --once -o json

    Send every due delivery of the channels that are on, retries included, and print the counts.
    """
    if not once:
        raise InvalidEvent("--once", "is required; to keep running, use `alertctl serve`")
    with client_of(context) as client:
        done = client.dispatch()
        if not done.attempted:
            # The command has done its work, even if this fails.
            with suppress(AlertctlError):
                for warning in client.status().warnings:
                    warn(warning)
    if output is Output.JSON:
        print_json(done)
    else:
        print_line(
            f"{done.attempted} attempted: {done.success} success, {done.retrying} to be retried, {done.failed} failed"
        )
