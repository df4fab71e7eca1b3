"""The root command and its options. The commands are in `registry`."""

from __future__ import annotations

from typing import Annotated

import typer

from alertctl import __version__
from alertctl.cli.commands.help import EXIT_CODES
from alertctl.cli.errors import Root
from alertctl.cli.output.streams import print_line

LOCAL_COMMANDS = ("serve", "db", "demo", "sandbox")
"""Commands that can't run through a server."""

app = typer.Typer(
    name="alertctl",
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=EXIT_CODES,
)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(f"alertctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config_file: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Settings file, in TOML (ALERTCTL_CONFIG).")
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="Database of the delivery log (DATABASE_URL).")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Use the daemon at this URL, not a database (ALERTCTL_SERVER).")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Time limit for calls to the server, retries included (ALERTCTL_TIMEOUT)."
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """
    \b
    alertctl demo                  watch real alerts arrive; needs no account
    alertctl send --event safety_rollback --set feature_flag=checkout-v3
    alertctl log --status failed   show failed deliveries and their errors

    Send alerts from experiments and feature flags to Slack and email, and log every delivery.
    """
    check_root_options(context)


def check_root_options(context: typer.Context) -> None:
    """Check the root's options and keep them as settings, by NAME. Raises BadParameter."""
    database, server = context.params["database"], context.params["server"]
    if server and database:
        raise typer.BadParameter("use --database or --server, not both", param_hint="--server")
    if server and context.invoked_subcommand in LOCAL_COMMANDS:
        raise typer.BadParameter(
            f"{context.invoked_subcommand} runs on this machine only: remove --server", param_hint="--server"
        )
    context.obj = {
        "ALERTCTL_CONFIG": context.params["config_file"],
        "DATABASE_URL": database,
        # --database overrides the server that the environment names.
        "ALERTCTL_SERVER": "" if database else server,
        "ALERTCTL_TIMEOUT": context.params["timeout"],
    }
