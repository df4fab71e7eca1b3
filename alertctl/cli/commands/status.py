"""`alertctl status`: where am I connected, and how does it stand there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from alertctl import __version__
from alertctl.cli.context import client_of
from alertctl.cli.output.streams import Output, OutputOption, plain, print_json, print_line, warn
from alertctl.cli.output.times import clock, now
from alertctl.cli.spool_flush import counted, spool_here

if TYPE_CHECKING:
    from alertctl.schemas import Paused, StatusReport

LATE_SECONDS = 60.0
"""How late a due delivery may be before somebody should look: a daemon takes a due one within seconds."""


def status(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl status
    alertctl --server https://alerts.corp.example status
    alertctl status -o json

    Where am I connected, which version, what waits, what arrived last, what is paused.

    Ends with 5 when the server or the database can't be reached.
    """
    with client_of(context) as client:
        found = client.status()
    waiting = spool_here().waiting()
    if output is Output.JSON:
        from alertctl.schemas import as_json

        print_json({**as_json(found), "client_version": __version__, "spool": waiting})
    else:
        for name, words in _lines(found, waiting, now()):
            print_line(f"{name:<13} {plain(words, ' ')}".rstrip())
    for each in _troubles(found):
        warn(each)


def _lines(found: StatusReport, waiting: int, moment: datetime) -> Iterator[tuple[str, str]]:
    yield "connected to", found.where
    yield "version", f"{found.version}, database {found.schema_version}"
    yield "waiting", ", ".join(f"{channel} {depth}" for channel, depth in found.depth.items())
    yield "oldest due", f"{_lapse(found.oldest_due_seconds)} late" if found.oldest_due_seconds else "nothing is due"
    for place, (channel, when) in enumerate(found.last_success.items()):
        yield "" if place else "last success", f"{channel} {clock(when, moment) or 'never'}"
    for place, one in enumerate(found.paused):
        yield "" if place else "paused", _pause(one, moment)
    if not found.paused:
        yield "paused", "nothing"
    yield "spool", f"{counted(waiting)} waiting" if waiting else "empty"


def _pause(one: Paused, moment: datetime) -> str:
    where = f"{one.provider} {one.to}" if one.to else one.provider
    then = "next probe" if one.breaker else "goes on"
    at = f" (host {one.host}, pid {one.pid})" if one.host else ""
    return f"{where}: {one.code} since {clock(one.since, moment)}, {then} {clock(one.until, moment)}{at}"


def _lapse(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _troubles(found: StatusReport) -> Iterator[str]:
    if found.version != __version__:
        yield f"the server is alertctl {found.version}, this command is {__version__}"
    for one in found.paused:
        if one.breaker and not one.to:
            yield f"{one.provider} refused our credentials ({one.code}): its deliveries wait; run alertctl doctor"
    if found.oldest_due_seconds > LATE_SECONDS and not found.paused:
        who = "its daemon" if found.daemon else "alertctl serve"
        yield f"the oldest due delivery is {_lapse(found.oldest_due_seconds)} late: does {who} run, and send?"
