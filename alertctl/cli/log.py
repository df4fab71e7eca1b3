"""`alertctl log`: the delivery log; `log show` one delivery's story; `log retry` sends again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.filters import (
    ErrorOption,
    EventIdOption,
    Pages,
    SinceOption,
    ToOption,
    UntilOption,
    filter_of,
)
from alertctl.cli.options import ChannelOption, EventOption, StatusOption
from alertctl.cli.output import (
    LogOutput,
    LogOutputOption,
    Output,
    OutputOption,
    compact,
    print_items,
    print_json,
    print_line,
    say,
)
from alertctl.cli.retry import retry
from alertctl.cli.rows import print_deliveries
from alertctl.cli.session import client_of
from alertctl.cli.times import now

if TYPE_CHECKING:
    from alertctl.schemas import DeliveryItem

app = typer.Typer(name="log", rich_markup_mode=None)
app.command(short_help="Send deliveries again, now.")(retry)

FIELDS = (
    "id",
    "event_type",
    "channel",
    "to",
    "status",
    "error",
    "attempts",
    "next_attempt_at",
    "created_at",
    "event_id",
    "reason",
    "ambiguous",
    "provider_id",
    "updated_at",
    "latency_ms",
)
"""The columns of CSV: the API's names, in its order."""

LimitOption = Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.", show_default=True)]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Any part of the delivery's id that is unique.")]


@app.callback(invoke_without_command=True)
def log(
    context: typer.Context,
    status: StatusOption = None,
    event: EventOption = None,
    channel: ChannelOption = None,
    to: ToOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    error: ErrorOption = None,
    event_id: EventIdOption = None,
    limit: LimitOption = 20,
    output: LogOutputOption = LogOutput.TABLE,
) -> None:
    """
    \b
    alertctl log
    alertctl log --status failed --since 2h
    alertctl log --event safety_rollback --limit 1000 -o csv > rollbacks.csv

    The delivery log, newest first: did it arrive, to whom, and if not, why.

    \b
    alertctl log show ID      one delivery's whole story
    alertctl log retry ID     send it again, or all that the same filters find
    """
    if context.invoked_subcommand is not None:
        return
    where = filter_of(status, event, channel, to, since, until, error, event_id)
    with client_of(context) as client:
        _print(Pages(client, where, limit), output)


@app.command(short_help="One delivery's whole story.")
def show(context: typer.Context, id_part: IdArgument, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl log show 4f1c02ab
    alertctl log show 4f1c02ab -o json

    One delivery's story: the event, why this target, every attempt and what the provider said.
    """
    with client_of(context) as client:
        found = client.show(id_part)
    if output is Output.JSON:
        print_json(found)
    else:
        from alertctl.cli.story import tell

        tell(found, now())


def _print(pages: Pages, output: LogOutput) -> None:
    if output is LogOutput.JSONL:
        for one in pages:
            print_line(compact(one))
    elif output is LogOutput.ID:
        for one in pages:
            print_line(one.id)
    elif output is LogOutput.CSV:
        _print_csv(pages)
    else:
        _print_all(pages, output)


def _print_all(pages: Pages, output: LogOutput) -> None:
    items = list(pages)
    if output is LogOutput.JSON:
        print_items(items, total=pages.total)
        return
    print_deliveries(items)
    if not items:
        say("no delivery matches")
    elif pages.total > len(items):
        say(f"{len(items)} of {pages.total}; --limit shows more")


def _print_csv(pages: Iterable[DeliveryItem]) -> None:
    import csv
    import sys

    from alertctl.schemas import as_json

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(FIELDS)
    for one in pages:
        row = as_json(one)
        writer.writerow([row[field] for field in FIELDS])
