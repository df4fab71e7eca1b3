"""`alertctl status`: the connection, the queue and paused providers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer

from alertctl import __version__
from alertctl.cli.commands.help import CHECK_FAILED
from alertctl.cli.context import client_of
from alertctl.cli.output.streams import Output, OutputOption, eprint, plain, print_json, print_line, warn
from alertctl.cli.output.times import clock, lapse, now
from alertctl.cli.spool_flush import spool_here
from alertctl.config import duration_of
from alertctl.errors import Unreachable
from alertctl.schemas import Paused, StatusReport, as_json
from alertctl.text import counted

LATE_SECONDS = 60.0
"""Seconds after which an overdue delivery is reported: a daemon claims a due one within seconds."""

FailIfWaitingOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="Exit with 10 if a delivery that is not final was queued longer ago than this: 5m, 1h."
    ),
]


def status(
    context: typer.Context, fail_if_waiting: FailIfWaitingOption = None, output: OutputOption = Output.TABLE
) -> None:
    """
    \b
    alertctl status
    alertctl --server https://alerts.corp.example status
    alertctl status --fail-if-waiting 5m

    Show the connection, the version, queued deliveries, the last successes and paused providers.

    Exits with 5 if the server or the database is unreachable.
    """
    limit = None if fail_if_waiting is None else duration_of("--fail-if-waiting", fail_if_waiting, 0)
    with client_of(context) as client:
        report = client.status()
    spool_error = None
    try:
        waiting = spool_here().waiting(strict=True)
    except Unreachable as error:
        waiting, spool_error = None, error
    if output is Output.JSON:
        print_json({**as_json(report), "client_version": __version__, "spool": waiting})
    else:
        for name, words in _lines(report, waiting, now()):
            print_line(f"{name:<13} {plain(words, ' ')}".rstrip())
    if spool_error:
        warn(f"{spool_error}; its events may wait: correct the owner and mode of this folder")
    for warning in _warnings(report):
        warn(warning)
    if limit is not None and _waiting_seconds(report) > limit:
        eprint(f"a delivery waits for {lapse(_waiting_seconds(report))}")
        raise typer.Exit(CHECK_FAILED)


def _waiting_seconds(report: StatusReport) -> float:
    """Return how long the oldest delivery waits. A server before 0.3 knows only how late the oldest due one is."""
    seconds = report.oldest_waiting_seconds
    return report.oldest_due_seconds if seconds is None else seconds


def _lines(report: StatusReport, waiting: int | None, moment: datetime) -> Iterator[tuple[str, str]]:
    yield "connected to", report.where
    yield "version", f"{report.version}, database {report.schema_version}"
    yield "waiting", ", ".join(f"{channel} {depth}" for channel, depth in report.depth.items())
    yield "oldest due", f"{lapse(report.oldest_due_seconds)} late" if report.oldest_due_seconds else "nothing is due"
    for index, (channel, when) in enumerate(report.last_success.items()):
        yield "" if index else "last success", f"{channel} {clock(when, moment) or 'never'}"
    for index, pause in enumerate(report.paused):
        yield "" if index else "paused", _pause(pause, moment)
    if not report.paused:
        yield "paused", "nothing"
    if waiting is None:
        yield "spool", "cannot be read"
    else:
        yield "spool", f"{counted(waiting, 'event')} waiting (alertctl spool list)" if waiting else "empty"


def _pause(pause: Paused, moment: datetime) -> str:
    target = f"{pause.provider} {pause.to}" if pause.to else pause.provider
    then = "next probe" if pause.breaker else "resumes"
    process = f" (host {pause.host}, pid {pause.pid})" if pause.host else ""
    return f"{target}: {pause.code} since {clock(pause.since, moment)}, {then} {clock(pause.until, moment)}{process}"


def _warnings(report: StatusReport) -> Iterator[str]:
    if report.version != __version__:
        yield f"the server is alertctl {report.version}, this command is {__version__}"
    for pause in report.paused:
        if pause.breaker and not pause.to:
            where = f" on host {pause.host}" if pause.host else ""
            yield f"{pause.provider} is paused ({pause.code}): its deliveries wait; run alertctl doctor{where}"
    if report.oldest_due_seconds > LATE_SECONDS and not report.paused:
        daemon = "its daemon" if report.daemon else "alertctl serve"
        yield f"the oldest due delivery is {lapse(report.oldest_due_seconds)} late: check that {daemon} is running"
    yield from report.warnings
