"""`alertctl log retry`: resend deliveries by id or by the log's filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.filters import LogPages, Where, filtered
from alertctl.cli.options import UtcOption, complete_delivery
from alertctl.cli.output.deliveries import print_deliveries, short
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_items, warn
from alertctl.cli.output.times import show_utc
from alertctl.client import Client
from alertctl.schemas import DeliveryItem

DEFAULT_MAX = 100
"""Deliveries that filters resend without --max: too wide a filter must not send a flood of messages."""
UNLIMITED = 1_000_000
"""The same with --error, which names a repaired cause: all its deliveries are resent."""
SENT_BY_EVENT = 20
"""Maximum of deliveries that are sent event by event; more are dispatched with everything else that is due."""

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        help="Delivery ids, or unique parts of them; or use filters.",
        autocompletion=complete_delivery,
    ),
]
MaxOption = Annotated[
    int | None,
    typer.Option(
        "--max", metavar="N", min=1, help="Resend only the newest N matches. Default: 100; with --error, no limit."
    ),
]


@filtered
def retry(
    context: typer.Context,
    where: Where,
    ids: IdsArgument = None,
    limit: MaxOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the deliveries; resend nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Resend delivered messages too.")] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Only mark the deliveries as due; a daemon sends them.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if a delivery failed again.")] = False,
    utc: UtcOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log retry 4f1c02ab
    alertctl log retry --status failed --error token_revoked
    alertctl log retry --status failed --since 2h --dry-run

    Resend deliveries now. Delivered messages are skipped unless you add --again.
    """
    if bool(ids) == bool(where.conditions()):
        raise typer.BadParameter("give either delivery ids or filters (--status failed …)")
    show_utc(utc)
    limit = limit or (UNLIMITED if where.error else DEFAULT_MAX)
    with client_of(context) as client:
        pages = LogPages(client, where, limit)
        named = [_as_item(client.show(part)) for part in ids or ()]
        chosen = list({delivery.id: delivery for delivery in named}.values()) if ids else list(pages)
        if dry_run:
            chosen, not_sent = _without_arrived(chosen, again=again)
        else:
            chosen, not_sent = _resend(client, chosen, again=again, queue=queue)
    for refusal in not_sent:
        warn(f"{short(refusal['id'])} is not resent: {refusal['problem']}")
    if output is Output.JSON:
        print_items(chosen, not_sent=not_sent)
    else:
        print_deliveries(chosen)
    if pages.more:
        eprint(f"only the newest {limit} of {pages.total or 'more'}; raise --max for more")
    elif not chosen:
        nothing = "nothing would be resent" if dry_run else "nothing was resent"
        eprint(nothing if not_sent else "no delivery matches")
    if strict and not dry_run and any(delivery.status == "failed" for delivery in chosen):
        raise typer.Exit(3)


def _without_arrived(chosen: Sequence[DeliveryItem], *, again: bool) -> tuple[list[DeliveryItem], list[dict[str, str]]]:
    """Return the deliveries that a dry run lists, and those that have arrived, as `_resend` does."""
    arrived = [item for item in chosen if item.status == "success" and not again]
    not_sent = [{"id": item.id, "problem": "it has arrived already"} for item in arrived]
    return [item for item in chosen if item.status != "success" or again], not_sent


def _resend(
    client: Client, chosen: Sequence[DeliveryItem], *, again: bool, queue: bool
) -> tuple[list[DeliveryItem], list[dict[str, str]]]:
    """Resend deliveries. Returns them in their new state, and those that were not resent with the reason."""
    results = client.resend([delivery.id for delivery in chosen], again=again)
    not_sent = [{"id": result.id, "problem": result.problem} for result in results if result.problem is not None]
    ids = {result.id for result in results if result.problem is None}
    due = [delivery for delivery in chosen if delivery.id in ids]
    if not queue and len(due) > SENT_BY_EVENT:
        client.dispatch()
    elif not queue:
        for event_id in dict.fromkeys(delivery.event_id for delivery in due):
            client.deliver(event_id)
    return [_as_item(client.show(delivery.id)) for delivery in due], not_sent


def _as_item(delivery: DeliveryItem) -> DeliveryItem:
    return DeliveryItem(**{field.name: getattr(delivery, field.name) for field in fields(DeliveryItem)})
