"""`alertctl send`: publish an event, then deliver it at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.context import client_of, connected, flags_of, warn_about_settings
from alertctl.cli.options import ChannelOption, EventOption, LabelOption, SetOption, SeverityOption, completion
from alertctl.cli.output.deliveries import print_deliveries
from alertctl.cli.output.delivery_warnings import delivery_warnings, explain_no_recipient, is_off, lacks_recipient
from alertctl.cli.output.progress import waiting_notice
from alertctl.cli.output.receipt import ReceiptFile, receipt_in
from alertctl.cli.output.streams import Output, OutputOption, eprint, messages, print_error, print_json, warn
from alertctl.cli.output.times import now
from alertctl.cli.registry import DEFAULT_WAIT
from alertctl.cli.send_request import build_request
from alertctl.cli.spool_flush import spool_here
from alertctl.client import Client
from alertctl.config import Sources, Value, duration_of, ends_with_machine, gather
from alertctl.config.sources import origin_note
from alertctl.config.validators import yes_or_no
from alertctl.errors import (
    AlertctlError,
    ConfigError,
    Conflict,
    InvalidEvent,
    NotAllowed,
    RefusedByProxy,
    Unreachable,
    UnusableDatabase,
)
from alertctl.schemas import DeliveryItem, EventReceipt, PublishRequest
from alertctl.spool import Destination, Spooled, describe

STILL_WAITING = "still waiting (a mail server may take minutes); Ctrl-C is safe: `alertctl serve` retries what is open"
MAX_WAIT_SECONDS = 86400.0
NOT_DELIVERED = 3
"""The exit code with --strict when the event was not recorded or not delivered to everybody."""

TitleOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Short for --set title=TEXT (generic_alert).")]
MessageOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Short for --set message=TEXT (generic_alert).")
]
UrlOption = Annotated[str | None, typer.Option(metavar="URL", help="Short for --set url=URL.")]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="JSON object of fields, from a file or stdin; accepts every key of POST /events. Other options win.",
    ),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="|".join(f"{channel}:ADDRESS" for channel in CHANNEL_NAMES),
        help="Send only to these targets, not to the usual recipients; repeatable. An address that shows its channel "
        "needs no prefix: '#ops'.",
        autocompletion=completion([f"{channel}:" for channel in CHANNEL_NAMES]),
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Idempotency key: repeating the command with the same key sends nothing (in CI: the pipeline's id "
        "and the job's name).",
    ),
]
DedupKeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Deduplication key: a later event with the same key is not recorded, unless --dedup-window is set.",
    ),
]
DedupWindowOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="With --dedup-key: record repeats, but suppress those to the same target within this time: 30m, 2h, 1d.",
    ),
]
ExpiresOption = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Stop sending after this long: 30m, 2h, 1d.")
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        metavar="[DURATION]",
        help=f"Wait until all deliveries are final, at most {DEFAULT_WAIT}; --wait=2m waits longer.",
    ),
]
ReceiptOption = Annotated[
    str | None, typer.Option("--receipt", metavar="FILE", help="Write recipients and results to this file, as JSON.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show messages and recipients; record and send nothing.")]
QueueOption = Annotated[bool, typer.Option("--queue", help="Record only; a daemon or `dispatch --once` sends it.")]
StrictOption = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict",
        help="With --strict: exit with 3 if a delivery did not succeed, there is no recipient or the key was used for "
        "different content, 4 if the event is spooled because the token is missing or not accepted (or a proxy in "
        "front of the server answered 401 or 403), 5 if it is spooled for another reason, or lost. Default: "
        "ALERTCTL_STRICT.",
        show_default=False,
    ),
]


def send(
    context: typer.Context,
    event: EventOption = None,
    assignments: SetOption = None,
    labels: LabelOption = None,
    title: TitleOption = None,
    message: MessageOption = None,
    severity: SeverityOption = None,
    url: UrlOption = None,
    json_file: JsonOption = None,
    to: ToOption = None,
    channel: ChannelOption = None,
    idempotency_key: KeyOption = None,
    dedup_key: DedupKeyOption = None,
    dedup_window: DedupWindowOption = None,
    expires: ExpiresOption = None,
    wait: WaitOption = None,
    receipt_file: ReceiptOption = None,
    dry_run: DryRunOption = False,
    queue: QueueOption = False,
    strict: StrictOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl send --event safety_rollback --set feature_flag=checkout-v3
    alertctl send --event generic_alert --title "Disk full" --to slack:#ops
    echo '{"experiment": "new-cta", "action": "started"}' |
        alertctl send --event experiment_lifecycle --json - --dry-run

    Publish an event: record it, then send it to its recipients.

    A failing provider is a warning, not an error: the event is recorded, and
    `alertctl serve` or `alertctl dispatch --once` retries the failed deliveries.
    If the event can't be recorded (database or server unreachable, token rejected, a needed
    setting wrong), it is spooled on this machine, and the next command that uses that
    database or server publishes it (see alertctl spool --help).
    """
    warn_about_settings(context)
    moment = now()
    shortcuts = {"title": title, "message": message, "severity": severity, "url": url, "dedup_key": dedup_key}
    with receipt_in(receipt_file) as receipt:
        sources = gather(flags=flags_of(context))
        is_server = Destination.best_known(sources, None, os.environ).is_server
        # A local dry run stops at a wrong setting by itself.
        is_strict = _is_strict(sources.values, warns=is_server or not dry_run) if strict is None else strict
        wait_seconds = _wait_seconds(wait, queue)
        request = build_request(
            event,
            shortcuts,
            assignments,
            json_file,
            moment,
            to=to,
            labels=labels,
            channel=channel,
            idempotency_key=idempotency_key,
            dedup_window=dedup_window,
            expires=expires,
            remote=is_server,
        )
        receipt.requested(request)
        if dry_run and receipt_file:
            warn("--receipt: a dry run writes no receipt")
        command = SendCommand(request, sources, is_server, receipt, queue, wait_seconds, output, moment)
        code = _preview(context, request, output) if dry_run else _send(context, command)
    if code and is_strict:
        raise typer.Exit(code)


def _is_strict(values: Mapping[str, Value], *, warns: bool) -> bool:
    """Return the value of ALERTCTL_STRICT; False if it is invalid."""
    strict = values.get("ALERTCTL_STRICT")
    try:
        return strict is not None and bool(strict.text.strip()) and yes_or_no(strict.raw)
    except ValueError as error:
        if warns and strict is not None:
            warn(f"ALERTCTL_STRICT: {error}{origin_note(strict.origin)}; the default applies: false")
        return False


@dataclass(frozen=True, slots=True)
class SendCommand:
    """A request, and how to deliver and report it: `queue` records only, `wait` is in seconds."""

    request: PublishRequest
    sources: Sources
    is_remote: bool
    receipt: ReceiptFile
    queue: bool
    wait: float | None
    output: Output
    moment: datetime


def _wait_seconds(wait: str | None, queue: bool) -> float | None:
    """Return the seconds of `--wait`. Raises InvalidEvent."""
    if wait is None:
        return None
    if queue:
        raise InvalidEvent("--wait", "can't be combined with --queue")
    return duration_of("--wait", wait, 0, MAX_WAIT_SECONDS)


def _preview(context: typer.Context, request: PublishRequest, output: Output) -> int:
    from alertctl.cli.output.message import print_previews

    # It publishes nothing, spooled events neither.
    with connected(context) as client:
        previews = client.preview(request)
    lacking = lacks_recipient(previews.items)
    warnings = list(previews.warnings)
    if lacking:
        warnings += explain_no_recipient(request, previews.items, warnings)
    print_previews(previews.items, warnings, output)
    for warning in warnings:
        warn(warning)
    return NOT_DELIVERED if lacking else 0


def _send(context: typer.Context, command: SendCommand) -> int:
    """Publish and deliver. Returns the exit code for `--strict`."""
    published = False
    try:
        with client_of(context, tolerate=True) as client:
            receipt = client.publish(command.request)
            published = True
            return _report_recorded(client, command, receipt)
    except InvalidEvent:
        raise
    except Conflict as conflict:
        # A warning, so that a job that runs again does not fail.
        warn(f"{conflict}; this event is not recorded, and nobody is notified")
        _report_unrecorded(command, "refused", str(conflict), warnings=[str(conflict)])
        return NOT_DELIVERED
    except Exception as error:
        # Keep the event, even if the settings or alertctl itself are at fault.
        if published:
            raise
        return _spool(command, error)


def _report_recorded(client: Client, command: SendCommand, receipt: EventReceipt) -> int:
    # Printed before anything is sent: the event is safe even if this process is killed.
    repeated = f"already recorded as {receipt.event_id} with this key; nothing is sent twice"
    eprint(f"recorded {receipt.event_id}" if receipt.created else repeated)
    command.receipt.recorded(receipt, receipt.deliveries, receipt.warnings)
    as_recorded = command.queue or not receipt.is_current
    deliveries = receipt.deliveries if as_recorded else _deliver(client, receipt, command.wait)
    # The caller of a server may lack the role for `log show`, so no warning names that command.
    remote = command.is_remote
    warnings = list(receipt.warnings)
    warnings += delivery_warnings(command.request, deliveries, warnings, queue=as_recorded, remote=remote)
    for warning in warnings:
        warn(warning)
    command.receipt.recorded(receipt, deliveries, warnings)
    if command.output is Output.JSON:
        event = {"event_id": receipt.event_id, "event_type": receipt.event_type, "created": receipt.created}
        print_json({**event, "deliveries": deliveries, "warnings": warnings})
    else:
        print_deliveries(deliveries)
    # The command may still wait to edit the root of a thread. An error of stdout is reported at the end.
    with suppress(OSError):
        sys.stdout.flush()
    command.receipt.put()
    statuses = {delivery.status for delivery in deliveries if not is_off(delivery)}
    return 0 if statuses and (command.queue or statuses <= {"success", "suppressed"}) else NOT_DELIVERED


def _spool(command: SendCommand, error: Exception) -> int:
    """Spool an event that can't be recorded now. Returns the exit code for `--strict`. Raises InvalidEvent."""
    from alertctl.publish import prepare
    from alertctl.routing import RoutingRules

    # Check it now, while the caller can still read the error.
    prepare(command.request, RoutingRules())
    where = Destination.best_known(command.sources, error, os.environ)
    try:
        spooled = spool_here().keep(command.request, where, describe(error), command.moment)
    except Exception as spool_error:
        _report_loss(command, f"{describe(error)}; {describe(spool_error)}")
        return Unreachable.exit_code
    for line in str(error).splitlines() if isinstance(error, ConfigError) else [describe(error)]:
        print_error(line)
    print_error(f"spooled as {spooled.id}; {_next_step(error, spooled)}")
    _report_unrecorded(command, "spooled", describe(error), spooled=True, spool_id=spooled.id)
    return NotAllowed.exit_code if isinstance(error, NotAllowed) else Unreachable.exit_code


def _next_step(error: Exception, spooled: Spooled) -> str:
    """Return how a spooled event gets published."""
    if isinstance(error, NotAllowed) and not isinstance(error, RefusedByProxy):
        step = f"the next command with a valid ALERTCTL_TOKEN for {spooled.destination} publishes it"
    elif isinstance(error, UnusableDatabase):
        step = f"after that, the next command that uses {spooled.destination} publishes it"
    elif isinstance(error, ConfigError):
        step = (
            f"correct the settings, and the next command that uses {spooled.destination} publishes it; "
            f"alertctl spool flush {spooled.id} publishes it elsewhere"
        )
    else:
        step = (
            f"the next command that uses {spooled.destination} publishes it, and so does its `alertctl serve`, if "
            "it runs as the same user on this machine (see alertctl spool --help)"
        )
    if not ends_with_machine(os.environ):
        return step
    folder = spool_here().folder
    return f"{step}; the spool ends with this machine ({folder}): set XDG_STATE_HOME to a persistent folder"


def _report_loss(command: SendCommand, cause: str) -> None:
    """Report an event that is neither recorded nor spooled. This is the last line on stderr."""
    try:
        _report_unrecorded(command, "lost", cause)
    finally:
        lost = f"LOST: neither recorded nor spooled: {cause}; correct this and send the event again"
        messages.print("error", lost)


def _report_unrecorded(command: SendCommand, outcome: str, cause: str, **receipt_fields: Any) -> None:
    """Write the receipt of an event that is not recorded, and print it as JSON."""
    command.receipt.write(outcome, error=cause, **receipt_fields)
    if outcome == "lost":
        command.receipt.put()
    if command.output is Output.JSON:
        event = {"event_id": None, "event_type": command.request.event_type, "created": False}
        state = {"spooled": outcome == "spooled", "lost": outcome == "lost", "spool_id": receipt_fields.get("spool_id")}
        print_json({**event, **state, "deliveries": [], "warnings": [cause]})


def _deliver(client: Client, receipt: EventReceipt, wait: float | None) -> list[DeliveryItem]:
    """Return the deliveries after a first attempt, or after `wait`. A failure is a warning: the event is recorded."""
    try:
        with waiting_notice(STILL_WAITING):
            return client.deliver(receipt.event_id, wait)
    except Exception as error:
        kind = "" if isinstance(error, AlertctlError) else f"unexpected: {type(error).__name__}: "
        warn(f"recorded, but not sent now: {kind}{error}")
        return receipt.deliveries
