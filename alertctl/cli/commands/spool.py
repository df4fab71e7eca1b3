"""`alertctl spool`: events that nobody could be told yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.output.streams import Output, OutputOption, print_items, print_json, print_line, warn
from alertctl.cli.spool_flush import counted, destination_of, report, send_now, spool_here

if TYPE_CHECKING:
    from alertctl.spool import Spooled

app = typer.Typer(
    name="spool",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""
    \b
    alertctl spool list
    alertctl spool flush

    Events that `send` could tell neither the server nor the database: see, tell, forget them.
    """,
)

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Only these: an id or a part of it that is unique.")
]
PATIENCE = 60.0
"""Seconds that `flush` waits for another process that flushes."""


@app.command("list", short_help="Show the events that wait, and those that were refused.")
def list_events(output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl spool list
    alertctl spool list -o json

    Show the events that wait in the spool, and those that were refused and set aside.
    """
    found, damaged = spool_here().entries()
    for path in damaged:
        warn(f"{path}: no event of ours, or damaged")
    if output is Output.JSON:
        print_items([_as_json(one) for one in found])
    elif found:
        _print_table(found)


@app.command(short_help="Tell the events that wait, now.")
def flush(
    context: typer.Context,
    ids: IdsArgument = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were meant for another database or server.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl spool flush
    alertctl spool flush 3f9c   also one refused or meant for elsewhere

    Tell the events that wait in the spool for the database or server that this command
    speaks to. Ends with 5 when some are left (4: not allowed).
    """
    from alertctl.cli.context import connected

    where = destination_of(context)
    with connected(context) as client:

        def tell(one: Spooled) -> None:
            receipt = client.publish(one.request)
            if not where.is_server:
                send_now(client, receipt.event_id)

        def mine(one: Spooled) -> bool:
            return bool(ids) or everything or one.destination == where.address

        flushed = spool_here().flush(mine, tell, timeout=PATIENCE, ids=ids or None)
    report(flushed)
    if not ids:
        _tell_of_others(where.address)
    if output is Output.JSON:
        print_json({"told": flushed.published, "refused": len(flushed.refused), "left": flushed.remaining})
    else:
        print_line(f"{flushed.published} told, {len(flushed.refused)} refused, {flushed.remaining} left")
    if flushed.remaining:
        raise typer.Exit(getattr(flushed.error, "exit_code", 5))


def _tell_of_others(here: str) -> None:
    others = [one.destination for one in spool_here().entries()[0] if one.destination != here and not one.refused]
    for place in dict.fromkeys(others):
        warn(f"{counted(others.count(place))} in the spool meant for {place}, not for {here}: left (--all)")


@app.command(short_help="Forget events that wait.")
def drop(
    ids: IdsArgument = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="All of them, without asking.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl spool drop 3f9c
    alertctl spool drop --yes   all of them

    Forget events in the spool: nobody will be told about them.
    """
    spool = spool_here()
    if not ids and not yes:
        found, damaged = spool.entries()
        number = len(found) + len(damaged)
        if number and not typer.confirm(f"Forget {counted(number)} that nobody was told about?", err=True):
            raise typer.Exit(1)
    dropped = spool.drop(ids or None)
    if output is Output.JSON:
        print_json({"dropped": dropped})
    else:
        print_line(f"{counted(dropped)} dropped")


def _as_json(one: Spooled) -> dict[str, object]:
    request = one.request
    return {
        "id": one.id,
        "event_type": request.event_type,
        "fields": request.fields,
        "to": request.to,
        "channel": request.channel,
        "said_at": request.said_at,
        "expires_at": request.expires_at,
        "destination": one.destination,
        "cause": one.cause,
        "refused": one.refused,
    }


def _print_table(found: list[Spooled]) -> None:
    from alertctl.cli.output.table import Column, print_table
    from alertctl.cli.output.times import clock, now

    columns = (
        Column("ID", needed=True),
        Column("SAID"),
        Column("EVENT", least=10, needed=True),
        Column("WHY", least=17, needed=True, wraps=True),
        Column("FOR", least=12),
    )
    moment = now()
    print_table(
        columns,
        [
            (
                one.id,
                clock(one.request.said_at or one.kept_at, moment),
                one.request.event_type,
                f"refused: {one.refused}" if one.refused else one.cause,
                one.destination,
            )
            for one in found
        ],
    )
