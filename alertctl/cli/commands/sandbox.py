"""`alertctl sandbox`: run a local Slack, SendGrid and SMTP server."""

from __future__ import annotations

import shlex
import signal
from contextlib import closing
from queue import SimpleQueue
from typing import Annotated, Any

import typer

from alertctl.cli.output.streams import Output, OutputOption, compact, eprint, print_line
from alertctl.errors import AlertctlError

ChaosOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Faults, comma-separated: PROVIDER[.ADDRESS]=FAULT[:PERCENT%]. "
        "For the list of faults, pass an unknown one: slack=x.",
    ),
]
PortOption = Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 picks a free one.")]

Arrived = tuple[str, Any] | None
"""A provider's name and its message; None ends the command."""


def sandbox(
    chaos: ChaosOption = "",
    slack_port: PortOption = 8081,
    sendgrid_port: PortOption = 8082,
    smtp_port: PortOption = 8025,
    sendgrid: Annotated[bool, typer.Option("--sendgrid", help="Print settings for SendGrid instead of SMTP.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl sandbox
    alertctl sandbox --chaos slack=429:20%,smtp=451:10%
    alertctl sandbox --sendgrid -o json

    Run local stand-ins for Slack, SendGrid and a mail server, reachable from this machine only.

    Prints the settings that make alertctl use them (paste them into another terminal),
    then each message as it arrives. Ctrl-C stops it. These addresses always
    fail: in Slack #missing, #archived, #private and the person @nobody@ of any domain; at the
    mail server missing@ and full@ of any domain; at SendGrid refused@ of any domain. #flaky
    and flaky@ fail once (over SMTP alertctl may try flaky@ again within the same attempt; then
    no failure shows).
    """
    from alertctl.sandbox import Sandbox, parse_chaos

    try:
        faults = parse_chaos(chaos)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--chaos") from None
    arrived: SimpleQueue[Arrived] = SimpleQueue()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: arrived.put(None))
    made = Sandbox(slack_port, sendgrid_port, smtp_port, on_message=lambda *message: arrived.put(message), chaos=faults)
    try:
        made.start()
    except OSError as error:
        raise AlertctlError(
            f"{error.strerror or error}; choose another with --slack-port, --sendgrid-port or --smtp-port (0 = any)"
        ) from None
    with closing(made):
        settings = made.settings("sendgrid" if sendgrid else "smtp")
        if output is Output.JSON:
            print_line(compact({"settings": settings}))
        else:
            eprint("paste these lines into another terminal; Ctrl-C ends the sandbox")
            print_line("\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items()))
        _print_messages(arrived, output)


def _print_messages(arrived: SimpleQueue[Arrived], output: Output) -> None:
    from alertctl.cli.output.message import panel, summary
    from alertctl.cli.output.table import console

    while (message := arrived.get()) is not None:
        if output is Output.JSON:
            print_line(compact(summary(*message)))
        else:
            console().print(panel(*message))
