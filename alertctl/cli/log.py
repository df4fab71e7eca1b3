"""`alertctl log`: the delivery log; `log show` one delivery's story; `log retry` sends again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

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
    warn,
)
from alertctl.cli.rows import print_deliveries, short
from alertctl.cli.session import client_of
from alertctl.cli.times import now, parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem, LogFilter, Page, ResendResult

app = typer.Typer(name="log", rich_markup_mode=None)

PAGE = 100
"""Rows that are asked for at once; what the API gives at most."""
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
)
"""The columns of CSV: the API's names, in its order."""

ToOption = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Only to this channel or address.")]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="From then on: 2h, 7d (ago), 2026-11-01, ISO.")]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]
LimitOption = Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.", show_default=True)]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Any part of the delivery's id that is unique.")]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID…", help="Any unique part of each delivery's id.")]


@app.callback(invoke_without_command=True)
def log(
    context: typer.Context,
    status: StatusOption = None,
    event: EventOption = None,
    channel: ChannelOption = None,
    to: ToOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
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
    alertctl log retry ID     send it again
    """
    if context.invoked_subcommand is not None:
        return
    where = _where(status, event, channel, to, since, until)
    with client_of(context) as client:
        _print(_Pages(client, where, limit), output)


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


@app.command(short_help="Send deliveries again, now.")
def retry(
    context: typer.Context,
    ids: IdsArgument,
    again: Annotated[bool, typer.Option("--again", help="Also what has arrived already.")] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Mark it as due only; a daemon sends it.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log retry 4f1c02ab
    alertctl log --status failed -o id | xargs alertctl log retry

    Send deliveries again, now. What has arrived already is left alone unless you say --again.
    """
    with client_of(context) as client:
        results = client.resend(ids, again=again)
        items = _sent_again(client, results, queue)
    left_alone = [one for one in results if one.why_not is not None]
    for one in left_alone:
        warn(f"{short(one.id)} is not sent again: {one.why_not}")
    if output is Output.JSON:
        print_items(items, not_sent=left_alone)
    else:
        print_deliveries(items)


def _sent_again(client: Client, results: list[ResendResult], queue: bool) -> list[DeliveryItem]:
    """Deliver what is due again, one event after the other; how each of those deliveries stands then."""
    due = [client.show(one.id) for one in results if one.why_not is None]
    if queue:
        return _as_items(due)
    ids = {one.id for one in due}
    events = dict.fromkeys(one.event_id for one in due)
    return [item for event_id in events for item in client.deliver(event_id) if item.id in ids]


def _as_items(details: Iterable[DeliveryItem]) -> list[DeliveryItem]:
    from alertctl.schemas import DeliveryItem

    return [DeliveryItem.model_validate(one.model_dump(include=set(DeliveryItem.model_fields))) for one in details]


def _where(
    status: str | None,
    event: str | None,
    channel: str | None,
    to: str | None,
    since: str | None,
    until: str | None,
) -> LogFilter:
    from alertctl.events import find
    from alertctl.schemas import LogFilter

    if event is not None:
        find(event)
    return LogFilter(
        status=status,
        event_type=event,
        channel=channel,
        # As `send --to` writes it, or the bare address.
        to=to.removeprefix("slack:").removeprefix("email:") if to is not None else None,
        since=_moment("--since", since),
        until=_moment("--until", until),
    )


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_moment(text, now())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


class _Pages:
    """`limit` deliveries of the log, read a page at a time as they are taken. `total` is how many there are in all."""

    def __init__(self, client: Client, where: LogFilter, limit: int) -> None:
        self._client, self._where, self._limit = client, where, limit
        self.total = 0

    def __iter__(self) -> Iterator[DeliveryItem]:
        left, cursor = self._limit, None
        while left > 0:
            page: Page = self._client.log(self._where, limit=min(left, PAGE), cursor=cursor)
            self.total = self.total if cursor else page.total
            yield from page.items
            left, cursor = left - len(page.items), page.next_cursor
            if cursor is None:
                return


def _print(pages: _Pages, output: LogOutput) -> None:
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


def _print_all(pages: _Pages, output: LogOutput) -> None:
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

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(FIELDS)
    for one in pages:
        row = one.model_dump(mode="json")
        writer.writerow([row[field] for field in FIELDS])
