"""`alertctl log`: the delivery log; its commands show one delivery, send again, export, count and prune."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from alertctl.channels import CHANNEL_TYPES, channel_type
from alertctl.cli.commands.log_export import export
from alertctl.cli.commands.log_follow import follow
from alertctl.cli.commands.log_prune import prune
from alertctl.cli.commands.log_retry import retry
from alertctl.cli.commands.log_stats import stats
from alertctl.cli.context import client_of
from alertctl.cli.filters import LogPages, Where, filtered
from alertctl.cli.options import UtcOption, complete_delivery
from alertctl.cli.output.deliveries import line_printer, print_deliveries
from alertctl.cli.output.streams import (
    LogOutput,
    LogOutputOption,
    Output,
    OutputOption,
    eprint,
    plain,
    print_items,
    print_json,
    print_line,
)
from alertctl.cli.output.times import now, show_utc
from alertctl.schemas import Rendered

app = typer.Typer(name="log", rich_markup_mode=None)
app.command(short_help="Resend deliveries now.")(retry)
app.command(short_help="Export deliveries as JSON lines or CSV.")(export)
app.command(short_help="Count deliveries by event type, channel, address or error.")(stats)
app.command(short_help="Delete old deliveries from the log.")(prune)

HAS_MATCHES = 10
"""Exit code of `--fail-if-any` when a delivery matches."""
RENDERINGS = tuple(dict.fromkeys(how for kind in CHANNEL_TYPES for how in kind.renderings))

LimitOption = Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of deliveries.", show_default=True)]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new and changed deliveries.")]
FailOption = Annotated[bool, typer.Option("--fail-if-any", help="Exit with 10 if any delivery matches; for CI.")]
RenderedOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(RENDERINGS),
        help="Show the message itself, without a note of a delay: as payload, text or HTML.",
    ),
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Delivery id, or a unique part of it.", autocompletion=complete_delivery)
]


@app.callback(invoke_without_command=True)
@filtered
def log(
    context: typer.Context,
    where: Where,
    limit: LimitOption = 20,
    following: FollowOption = False,
    fail_if_any: FailOption = False,
    utc: UtcOption = False,
    output: LogOutputOption = LogOutput.TABLE,
) -> None:
    """
    \b
    alertctl log --status failed --since 2h
    alertctl log -f --event safety_rollback
    alertctl log --final --status failed --flag checkout-v3 --fail-if-any

    Show the delivery log, newest first: each delivery's status, target and error.

    \b
    alertctl log show ID                 show one delivery with all its attempts
    alertctl log retry --status failed   resend the matching deliveries
    """
    if following and fail_if_any:
        raise typer.BadParameter("can't be combined with --follow", param_hint="--fail-if-any")
    show_utc(utc)
    with client_of(context) as client:
        if following:
            follow(client, where, limit, output)
        pages = LogPages(client, where, limit)
        count = _print(pages, output)
        if fail_if_any and count:
            eprint(f"found {count if pages.total is None else pages.total}, expected none (--fail-if-any)")
            raise typer.Exit(HAS_MATCHES)


@app.command(short_help="Show one delivery with all its attempts.")
def show(
    context: typer.Context,
    id_part: IdArgument,
    rendered: RenderedOption = None,
    utc: UtcOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log show 4f1c02ab
    alertctl log show 4f1c02ab -o json
    alertctl log show 4f1c02ab --rendered text

    Show one delivery: its event, why it has this target, every attempt and the provider's answers.
    """
    show_utc(utc)
    if rendered not in (None, *RENDERINGS):
        raise typer.BadParameter(f"should be one of {', '.join(RENDERINGS)}", param_hint="--rendered")
    with client_of(context) as client:
        if rendered is not None:
            _print_message(client.rendered(id_part), rendered, output)
            return
        detail = client.show(id_part)
        paused = client.status().paused if output is Output.TABLE and detail.status == "pending" else ()
    if output is Output.JSON:
        print_json(detail)
    else:
        from alertctl.cli.output.delivery_detail import print_detail

        print_detail(detail, paused, now())


def _print_message(message: Rendered, rendering: str, output: Output) -> None:
    if output is Output.JSON:
        print_json(message)
    elif rendering not in (renderings := channel_type(message.channel).renderings):
        choices = " or ".join(renderings)
        raise typer.BadParameter(f"this is a message for {message.channel}: choose {choices}", param_hint="--rendered")
    elif rendering == "text":
        print_line(plain(channel_type(message.channel).message_text(message.message)))
    elif rendering == "html":
        if not message.message["html"]:
            raise typer.BadParameter("this message is plain text, without HTML: choose text", param_hint="--rendered")
        print_line(str(message.message["html"]))
    else:
        print_json(message.message)


def _print(pages: LogPages, output: LogOutput) -> int:
    """Print the deliveries and return their number."""
    if output in (LogOutput.JSONL, LogOutput.ID, LogOutput.CSV):
        count, show = 0, line_printer(output)
        for delivery in pages:
            show(delivery)
            count += 1
        sys.stdout.flush()
        return count
    items = list(pages)
    if output is LogOutput.JSON:
        print_items(items, total=pages.total)
        return len(items)
    print_deliveries(items, wide=output is LogOutput.WIDE)
    if not items:
        eprint("no delivery matches")
    elif pages.more:
        eprint(f"{len(items)} of {pages.total or 'more'}; --limit shows more")
    return len(items)
