"""`alertctl send`: publish an event, then deliver it at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli import request
from alertctl.cli.options import ChannelOption, EventOption, complete_set, complete_target
from alertctl.cli.output import Output, OutputOption, print_json, say, warn
from alertctl.cli.rows import print_deliveries
from alertctl.cli.session import client_of
from alertctl.errors import AlertctlError

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem, EventReceipt, PublishRequest

NOBODY = "nobody to tell: switch a channel on (SLACK_ENABLED, EMAIL_ENABLED), or name a target with --to"

NAMED = 10
"""Deliveries that did not arrive and are named one by one; the log has them all."""

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="FIELD=VALUE",
        help="A field of the event, or details.NAME=VALUE; repeatable. An empty value leaves the field out.",
        autocompletion=complete_set,
    ),
]
TitleOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Short for --set title=TEXT.")]
MessageOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Short for --set message=TEXT.")]
SeverityOption = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="Short for --set severity=LEVEL (info, warning, error, critical).")
]
UrlOption = Annotated[str | None, typer.Option(metavar="URL", help="Short for --set url=URL.")]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="An object of fields, from a file or stdin; may hold event_type, to and channel. Flags win.",
    ),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="slack:#x|email:a@b",
        help="Only these targets, instead of those who would be told; repeatable.",
        autocompletion=complete_target,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would go to whom; record and send nothing.")]
QueueOption = Annotated[bool, typer.Option("--queue", help="Record only; a daemon or `dispatch --once` sends it.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="End with 3 when a delivery did not succeed, or there was nobody to tell.")
]


def send(
    context: typer.Context,
    event: EventOption = None,
    assignments: SetOption = None,
    title: TitleOption = None,
    message: MessageOption = None,
    severity: SeverityOption = None,
    url: UrlOption = None,
    json_file: JsonOption = None,
    to: ToOption = None,
    channel: ChannelOption = None,
    dry_run: DryRunOption = False,
    queue: QueueOption = False,
    strict: StrictOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl send --event safety_rollback --set feature_flag=checkout-v3
    alertctl send --event generic_alert --title "Disk full" --to slack:#ops
    echo '{"experiment": "new-cta", "action": "started"}' |
        alertctl send --event experiment_lifecycle --json - --dry-run

    Tell people about an event: record it, then send it to everybody who wants it.

    A provider that fails is a warning, not an error: the event is recorded, and what
    did not arrive is tried again by `alertctl serve` or `alertctl dispatch --once`.
    """
    shortcuts = {"title": title, "message": message, "severity": severity, "url": url}
    asked = request.build(event, assignments or (), shortcuts, json_file, to or (), channel)
    with client_of(context) as client:
        fine = _preview(client, asked, output) if dry_run else _send(client, asked, queue, output)
    if strict and not fine:
        raise typer.Exit(3)


def _preview(client: Client, asked: PublishRequest, output: Output) -> bool:
    from alertctl.cli.preview import print_previews

    found = client.preview(asked)
    print_previews(found, output)
    if all(one.held_back for one in found):
        warn(NOBODY)
        return False
    return True


def _send(client: Client, asked: PublishRequest, queue: bool, output: Output) -> bool:
    """Publish and deliver; True when everybody was told (with `queue`: when there is somebody to tell)."""
    receipt = client.publish(asked)
    # Said before anything is sent: from here on the event is safe, whatever happens to this process.
    if receipt.created:
        say(f"recorded {receipt.event_id}")
    else:
        say(f"recorded {receipt.event_id} before, under the same key: nothing is sent twice")
    deliveries = receipt.deliveries if queue else _deliver(client, receipt)
    warnings = [*receipt.warnings, *_troubles(deliveries, queue)]
    for each in warnings:
        warn(each)
    if output is Output.JSON:
        whole = {"event_id": receipt.event_id, "event_type": receipt.event_type, "created": receipt.created}
        print_json({**whole, "deliveries": deliveries, "warnings": warnings})
    else:
        print_deliveries(deliveries)
    return _everybody_told(deliveries, queue)


def _deliver(client: Client, receipt: EventReceipt) -> list[DeliveryItem]:
    """How the deliveries stand after a first try. Nothing that goes wrong here is the caller's trouble."""
    try:
        return client.deliver(receipt.event_id)
    except Exception as error:
        kind = "" if isinstance(error, AlertctlError) else f"unexpected: {type(error).__name__}: "
        warn(f"recorded, but not sent now: {kind}{error}")
        return receipt.deliveries


def _troubles(deliveries: list[DeliveryItem], queue: bool) -> list[str]:
    held = Counter(one.error for one in deliveries if one.status == "suppressed")
    found = [f"{cause}: {count} held back" for cause, count in held.items()]
    if held.total() == len(deliveries):
        return [*found, NOBODY]
    missed = [one for one in deliveries if not queue and one.status not in ("success", "suppressed")]
    more = [f"and {len(missed) - NAMED} more did not arrive"] if len(missed) > NAMED else []
    return [*found, *map(_told, missed[:NAMED]), *more]


def _told(one: DeliveryItem) -> str:
    where = f"{one.channel} {one.to}"
    if one.status != "failed":
        return f"{where}: {one.status}, not sent yet"
    again = "it will be tried again" if one.next_attempt_at else "it will not be tried again"
    return f"{where}: {one.error}; {again} (alertctl log show {one.id[-8:]})"


def _everybody_told(deliveries: list[DeliveryItem], queue: bool) -> bool:
    wanted = [one.status for one in deliveries if one.status != "suppressed"]
    return bool(wanted) and (queue or all(status == "success" for status in wanted))
