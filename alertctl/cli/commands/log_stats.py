"""`alertctl log stats`: count the log's deliveries, with small bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

import typer

from alertctl.cli.context import client_of
from alertctl.cli.filters import Where, filtered
from alertctl.cli.output.streams import Output, OutputOption, eprint, plain, print_json
from alertctl.cli.output.table import Column, print_table
from alertctl.cli.output.times import now
from alertctl.schemas import Count, Stats

MAX_BAR_LENGTH = 10


@filtered
def stats(
    context: typer.Context,
    where: Where,
    by: Annotated[
        Literal["event", "channel", "to", "error"],
        typer.Option(help="A row for each event type, channel, address or error."),
    ] = "event",
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log stats
    alertctl log stats --since 30d --by error
    alertctl log stats --by to --status failed

    Count the deliveries of the last 7 days (or --since): how many arrived, failed for good, are retried, wait, or were
    suppressed; a row for each event type (or --by).
    """
    if where.since is None:
        where = replace(where, since=now() - timedelta(days=7))
    with client_of(context) as client:
        result = client.stats(where, by)
    if output is Output.JSON:
        print_json(result)
    elif result.total.total == 0:
        eprint("no delivery matches")
    else:
        _print(result)


def _print(stats: Stats) -> None:
    largest = max(count.total for count in stats.items) if stats.items else 1
    columns = (
        Column(stats.by.upper(), least=16, needed=True),
        Column("ALL", needed=True),
        Column("ARRIVED", needed=True),
        Column("FAILED", needed=True),
        Column("RETRYING"),
        Column("WAITING"),
        Column("SUPPRESSED"),
        Column(""),
    )
    rows = [(plain(count.key, " ") or "(none)", *_numbers(count), _bar(count, largest)) for count in stats.items]
    print_table(columns, [*rows, ("all", *_numbers(stats.total), "")])


def _numbers(count: Count) -> tuple[str, ...]:
    numbers = (count.total, count.success, count.failed, count.retrying, count.waiting, count.suppressed)
    return tuple(str(number) if number else "" for number in numbers)


def _bar(count: Count, largest: int) -> str:
    """Return a bar for a count's share of the largest. What did not arrive is a different sign, not only a colour."""
    length = max(1, round(MAX_BAR_LENGTH * count.total / largest))
    missed = round(length * (count.total - count.success) / count.total)
    if count.success < count.total:
        missed = max(1, missed)
    return "█" * (length - missed) + "░" * missed
