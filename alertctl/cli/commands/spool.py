"""`alertctl spool`: list, publish and drop spooled events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.confirmation import require_confirmation
from alertctl.cli.context import connected
from alertctl.cli.output.streams import (
    Output,
    OutputOption,
    eprint,
    print_items,
    print_json,
    print_line,
    warn,
)
from alertctl.cli.output.table import Column, print_list
from alertctl.cli.output.times import clock, now
from alertctl.cli.spool_flush import destination_of, report, send_now, spool_here
from alertctl.text import counted

if TYPE_CHECKING:
    from alertctl.spool import Destination, Spooled

app = typer.Typer(
    name="spool",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""
    \b
    alertctl spool list
    alertctl spool flush

    Manage events that reached neither the server nor the database: list, publish, drop them.

    The next command that uses an event's database or server publishes it (not db, doctor, config,
    preview, routes, send --dry-run, spool list or spool drop). So does the `alertctl serve` of that
    database or server, if it runs as the same user on this machine; for a server, only if `send` had
    a token that alertctl made, not a JWT.
    """,
)

COLUMNS = (
    Column("ID", lambda event: event.id, needed=True),
    Column("TIME", lambda event: clock(event.request.originally_published_at or event.kept_at, now())),
    Column("EVENT", lambda event: event.request.event_type, least=10, needed=True),
    Column("WHY", lambda event: _why(event), least=17, needed=True, wraps=True),
    Column("FOR", lambda event: event.destination, least=12),
)
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Event ids, or unique parts of them.")]
REQUEST_FIELDS = ("event_type", "fields", "to", "channel", "originally_published_at", "expires_at")
FLUSH_TIMEOUT = 60.0
"""Seconds that `flush` waits for a flush of another process."""


@app.command("list", short_help="List spooled and refused events.")
def list_events(output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl spool list
    alertctl spool list -o json

    List the events in the spool, including those that the database or server refused when they
    were published from it (because of a wrong field, or a key that was used for different content).
    """
    events, faults = spool_here().entries()
    for fault in faults:
        warn(fault)
    if output is Output.JSON:
        print_items([_as_json(event) for event in events])
    elif events:
        print_list(events, COLUMNS)
    elif not faults:
        eprint("the spool is empty")


@app.command(short_help="Publish spooled events now.")
def flush(
    context: typer.Context,
    ids: IdsArgument = None,
    all_destinations: Annotated[
        bool,
        typer.Option("--all", help="Publish the events for other databases or servers, too, on the current one."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl spool flush
    alertctl spool flush 3f9c   even if refused, or for another database or server

    Publish the spooled events for the current database or server; refused events only by ID.
    Exits with 5 if an event still has to wait, or with 4 if that is because the token is missing or
    was rejected or a proxy in front of the server answered 401 or 403; with 2 if a setting or the
    database's version is wrong. A refused event is set aside and does not change the exit code.
    """
    where = destination_of(context)
    with connected(context) as client:

        def publish(event: Spooled) -> None:
            receipt = client.publish(event.request)
            if not where.is_server:
                send_now(client, receipt.event_id)

        def belongs_here(event: Spooled) -> bool:
            return bool(ids) or all_destinations or where.accepts(event.destination)

        flushed = spool_here().flush(belongs_here, publish, timeout=FLUSH_TIMEOUT, ids=ids or None)
    report(flushed)
    if not ids:
        _warn_about_others(where)
    if output is Output.JSON:
        print_json({"published": flushed.published, "refused": len(flushed.refused), "remaining": flushed.remaining})
    else:
        print_line(f"{flushed.published} published, {len(flushed.refused)} refused, {flushed.remaining} remaining")
    if flushed.remaining:
        raise typer.Exit(getattr(flushed.error, "exit_code", 5))


def _warn_about_others(where: Destination) -> None:
    others = [
        event.destination
        for event in spool_here().entries()[0]
        if not where.accepts(event.destination) and not event.refused
    ]
    for destination in dict.fromkeys(others):
        count = counted(others.count(destination), "event")
        warn(f"not published: {count} for {destination} (this is {where.address}); --all publishes them here")


@app.command(short_help="Drop spooled events without publishing them.")
def drop(
    ids: IdsArgument = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Without IDs: drop all events, without confirmation.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl spool drop 3f9c
    alertctl spool drop --yes   drop all events

    Drop spooled events without publishing them.
    """
    spool = spool_here()
    if not ids and not yes:
        events, faults = spool.entries()
        number = len(events) + len(faults)
        these = counted(number, "event")
        if number:
            require_confirmation(f"Drop {these} without publishing?", f"loss of {these}")
    dropped = spool.drop(ids or None)
    if output is Output.JSON:
        print_json({"dropped": dropped})
    else:
        print_line(f"{counted(dropped, 'event')} dropped")


def _as_json(event: Spooled) -> dict[str, object]:
    request = {name: getattr(event.request, name) for name in REQUEST_FIELDS}
    return {"id": event.id, **request, "destination": event.destination, "cause": event.cause, "refused": event.refused}


def _why(event: Spooled) -> str:
    return f"refused: {event.refused}" if event.refused else event.cause
