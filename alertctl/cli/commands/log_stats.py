"""`alertctl log stats`: the log in numbers, with small bars."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.filters import Where, filtered
from alertctl.cli.output.streams import Output, OutputOption, eprint, plain, print_json

if TYPE_CHECKING:
    from alertctl.schemas import Count, Stats

WEEK = 7
"""Days that are counted unless --since says otherwise."""
BAR = 10
"""Cells of a bar at most."""


class By(StrEnum):
    EVENT = "event"
    CHANNEL = "channel"
    TO = "to"
    ERROR = "error"


@filtered
def stats(
    context: typer.Context,
    where: Where,
    by: Annotated[By, typer.Option(help="What to count by.")] = By.EVENT,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log stats
    alertctl log stats --since 30d --by error
    alertctl log stats --by to --status failed

    How many deliveries there were in the last 7 days (or --since), and how they stand.
    """
    from dataclasses import replace
    from datetime import timedelta

    from alertctl.cli.output.times import now

    if where.since is None:
        where = replace(where, since=now() - timedelta(days=WEEK))
    with client_of(context) as client:
        found = client.stats(where, by.value)
    if output is Output.JSON:
        print_json(found)
    elif found.total.total == 0:
        eprint("no delivery matches")
    else:
        _print(found)


def _print(found: Stats) -> None:
    from alertctl.cli.output.table import Column, print_table

    most = max(one.total for one in found.items) if found.items else 1
    columns = (
        Column(found.by.upper(), least=16, needed=True),
        Column("ALL", needed=True),
        Column("ARRIVED", needed=True),
        Column("FAILED", needed=True),
        Column("RETRYING"),
        Column("WAITING"),
        Column("HELD BACK"),
        Column(""),
    )
    rows = [(plain(one.key, " ") or "(none)", *_numbers(one), _bar(one, most)) for one in found.items]
    print_table(columns, [*rows, ("all", *_numbers(found.total), "")])


def _numbers(one: Count) -> tuple[str, ...]:
    found = (one.total, one.success, one.failed, one.retrying, one.waiting, one.suppressed)
    return tuple(str(number) if number else "" for number in found)


def _bar(one: Count, most: int) -> str:
    """As long as its share of the largest; what did not arrive is a different sign, not only a different colour."""
    length = max(1, round(BAR * one.total / most))
    missed = round(length * (one.total - one.success) / one.total)
    if one.success < one.total:
        missed = max(1, missed)
    return "█" * (length - missed) + "░" * missed
