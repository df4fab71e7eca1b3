"""`alertctl log retry`: send again what was named, or what the log's own filters find."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.filters import Pages, Where, filtered
from alertctl.cli.options import UtcOption, complete_delivery
from alertctl.cli.output.deliveries import print_deliveries, short
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_items, warn
from alertctl.cli.output.times import show_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem

MOST = 100
"""Deliveries that filters send again unless --max says more: a filter too wide is a storm of messages."""
ALL = 1_000_000
"""The same with --error: whoever names what was repaired means all that failed of it."""
AT_ONCE = 20
"""Deliveries that are sent one event after the other; more are dispatched together with whatever else is due."""

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        help="Any unique part of each delivery's id; or use filters.",
        autocompletion=complete_delivery,
    ),
]
MaxOption = Annotated[
    int | None,
    typer.Option(
        "--max", metavar="N", min=1, help="No more than the newest N that the filters find: 100, or all with --error."
    ),
]


@filtered
def retry(
    context: typer.Context,
    where: Where,
    ids: IdsArgument = None,
    limit: MaxOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent again.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what has arrived already.")] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Mark it as due only; a daemon sends it.")] = False,
    utc: UtcOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log retry 4f1c02ab
    alertctl log retry --status failed --error token_revoked
    alertctl log --status failed --since 2h retry --dry-run

    Send deliveries again, now. What has arrived already is left alone unless you say --again.
    """
    if bool(ids) == bool(where.given()):
        raise typer.BadParameter("name deliveries by their ids, or use filters (--status failed …): one of the two")
    show_utc(utc)
    limit = limit or (ALL if where.error else MOST)
    with client_of(context) as client:
        found = Pages(client, where, limit)
        chosen = _named(client, ids) if ids else list(found)
        left_alone: list[dict[str, str]] = []
        if not dry_run:
            chosen, left_alone = _again(client, chosen, again=again, queue=queue)
    if output is Output.JSON:
        print_items(chosen, not_sent=left_alone)
    else:
        print_deliveries(chosen)
    if found.more:
        eprint(f"these are the newest {limit} of {found.total or 'more'}: --max takes more")
    elif not chosen:
        eprint("no delivery matches" if not left_alone else "nothing was sent again")


def _named(client: Client, ids: Sequence[str]) -> list[DeliveryItem]:
    """The deliveries with these ids, each once, however often it is named."""
    found = [_as_item(client.show(part)) for part in ids]
    return list({one.id: one for one in found}.values())


def _again(
    client: Client, chosen: Sequence[DeliveryItem], *, again: bool, queue: bool
) -> tuple[list[DeliveryItem], list[dict[str, str]]]:
    """What is sent again, as it stands then; and what is not, with the reason."""
    results = client.resend([one.id for one in chosen], again=again)
    left_alone = [{"id": one.id, "why_not": one.why_not} for one in results if one.why_not is not None]
    for one in left_alone:
        warn(f"{short(one['id'])} is not sent again: {one['why_not']}")
    ids = {one.id for one in results if one.why_not is None}
    due = [one for one in chosen if one.id in ids]
    if not queue:
        _send(client, due)
    return [_as_item(client.show(one.id)) for one in due], left_alone


def _send(client: Client, due: Sequence[DeliveryItem]) -> None:
    if len(due) > AT_ONCE:
        client.dispatch()
        return
    for event_id in dict.fromkeys(one.event_id for one in due):
        client.deliver(event_id)


def _as_item(one: DeliveryItem) -> DeliveryItem:
    from alertctl.schemas import DeliveryItem

    return DeliveryItem(**{field.name: getattr(one, field.name) for field in fields(DeliveryItem)})
