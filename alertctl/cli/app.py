"""The command tree. Light: what a command works with is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from alertctl import __version__
from alertctl.cli import (
    config,
    db,
    demo,
    dispatch,
    doctor,
    events,
    log,
    prefs,
    sandbox,
    send,
    serve,
    spool,
    status,
    tokens,
    users,
)
from alertctl.cli import test as trial
from alertctl.cli.border import Root
from alertctl.cli.help import EXIT_CODES, show_help
from alertctl.cli.output import print_line

CONFIG_HELP = """
\b
alertctl config show
alertctl config check

Show every setting and where it came from; name what is wrong with them.
"""

ON_THE_SPOT = ("serve", "db", "demo", "sandbox")
"""Commands that no server can be asked for."""

app = typer.Typer(
    name="alertctl",
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=EXIT_CODES,
)


def _version(asked: bool) -> None:
    if asked:
        print_line(f"alertctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config_file: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="The TOML file with the settings (ALERTCTL_CONFIG).")
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the delivery log is (DATABASE_URL).")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Speak to this `alertctl serve` instead (ALERTCTL_SERVER).")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long to wait for the server, repeats included (ALERTCTL_TIMEOUT)."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """
    \b
    alertctl demo                  see real alerts arrive; needs no account
    alertctl send --event safety_rollback --set feature_flag=checkout-v3
    alertctl log --status failed   who did not get what, and why

    Alerts from experiments and feature flags to Slack and email, with a delivery log that answers.
    """
    if server and database:
        raise typer.BadParameter("say --database or --server, not both", param_hint="--server")
    if server and context.invoked_subcommand in ON_THE_SPOT:
        raise typer.BadParameter(
            f"{context.invoked_subcommand} works here, never through a server", param_hint="--server"
        )
    context.obj = {
        "ALERTCTL_CONFIG": config_file,
        "DATABASE_URL": database,
        # Whoever names a database means it, whatever server the environment names.
        "ALERTCTL_SERVER": "" if database else server,
        "ALERTCTL_TIMEOUT": timeout,
    }


app.command(cls=send.SendCommand, short_help="Tell people about an event.")(send.send)
app.command("test", short_help="Send one real message and show the provider's answer.")(trial.try_out)
app.add_typer(log.app, short_help="Show the delivery log, one delivery, or send again.")
app.add_typer(spool.app, short_help="Events that could be told to nobody yet.")
app.command(short_help="List the types of events, or one type's fields.")(events.events)
app.command(short_help="Send what is due, then end; for cron.")(dispatch.dispatch)
app.command(short_help="Run the daemon: HTTP API, sending, retries.")(serve.serve)
app.add_typer(prefs.app, short_help="Show and change what a user is told, and where.")
app.add_typer(users.app, short_help="Add, list and disable users.")
app.add_typer(tokens.app, short_help="Create, list and revoke access tokens.")
app.add_typer(config.app, help=CONFIG_HELP, short_help="Show and check the settings.")
app.add_typer(db.app, short_help="Look at the database, upgrade it, back it up, move it.")
app.command(short_help="Where am I, what waits, what is paused.")(status.status)
app.command(short_help="Find out why messages are not arriving.")(doctor.doctor)
app.command(short_help="See real alerts arrive; needs no configuration.")(demo.demo)
app.command(short_help="Run a local Slack, SendGrid and mail server.")(sandbox.sandbox)
app.command("help", short_help="Explain a command, or: exit-codes, statuses, times.")(show_help)
