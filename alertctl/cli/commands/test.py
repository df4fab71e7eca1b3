"""`alertctl test`: send one real message and show the provider's answer."""

from __future__ import annotations

from typing import Annotated

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.context import client_of, warn_about_settings
from alertctl.cli.options import non_empty, one_of
from alertctl.cli.output.deliveries import short
from alertctl.cli.output.streams import Output, OutputOption, eprint, plain, print_json, print_line
from alertctl.cli.spool_flush import destination_of

ChannelArgument = Annotated[str, typer.Argument(metavar="|".join(CHANNEL_NAMES), **one_of(CHANNEL_NAMES, "a channel"))]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Channel or email address. Default for Slack: SLACK_DEFAULT_CHANNEL; for email: the first of "
        "NOTIFICATION_ADMIN_EMAILS or, if there is none, the address of ALERTCTL_TOKEN's user.",
        callback=non_empty,
    ),
]


def send_test_message(
    context: typer.Context,
    channel: ChannelArgument,
    to: AddressOption = None,
    to_all: Annotated[
        bool, typer.Option("--all", help="Send to all of NOTIFICATION_ADMIN_EMAILS (email only).")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl test slack
    alertctl test slack --to "#platform-alerts-test"
    alertctl test email --to dev@corp.example
    alertctl test email --all

    Send one real message, marked as a test, and show the provider's own answer.

    The message is sent like any alert and recorded in the delivery log. Exits with 3 if it is not delivered.
    """
    if to and to_all:
        raise typer.BadParameter("use --to or --all, not both", param_hint="--all")
    warn_about_settings(context)
    with client_of(context) as client:
        result = client.test(channel, to, all_defaults=to_all)
    if output is Output.JSON:
        print_json(result)
    else:
        print_line(plain(result.message, " "))
        if result.answer and result.answer not in result.message:
            print_line(f"The provider said: {plain(result.answer, ' ')}")
        # A server's caller may lack the role for `log show`.
        shown = "delivery" if destination_of(context).is_server else "see: alertctl log show"
        eprint(f"{shown} {short(result.delivery_id)}")
    if not result.success:
        raise typer.Exit(3)
