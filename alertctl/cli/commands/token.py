"""`alertctl token`: access tokens for the HTTP API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.options import ROLES, one_of
from alertctl.cli.output.deliveries import short
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_json, print_line
from alertctl.cli.output.table import Column, print_item, print_list
from alertctl.cli.output.times import clock, duration_option, moment_in_full, now
from alertctl.schemas import TokenItem, as_json

HELP = """
\b
alertctl token create --user ci@corp.example --role developer --expires 90d
alertctl token list

Create, list and revoke access tokens for the HTTP API.
"""
app = typer.Typer(name="token", help=HELP, no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("ID", lambda token: short(token.id), needed=True),
    Column("USER", lambda token: token.user, least=12, needed=True),
    Column("ROLE", lambda token: token.scope or token.role),
    Column("STATE", lambda token: _state(token, now()), needed=True),
    Column("ENDS WITH", lambda token: token.hint),
    Column("LAST USED", lambda token: clock(token.last_used_at, now()) or "never"),
    Column("EXPIRES", lambda token: clock(token.expires_at, now()) or "never"),
)


@app.command(short_help="Create a token and print it once.")
def create(
    context: typer.Context,
    user: Annotated[
        str,
        typer.Option(
            "--user",
            "-u",
            metavar="USER",
            help="User's email address or id. A new address adds a user with this role (--scope publish: developer).",
        ),
    ],
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="Role, at most the user's own: viewer, analyst, developer or admin. Required unless --scope.",
            **one_of(ROLES, "a role"),
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="publish",
            help="Instead of a role: publish events and read their state, nothing else.",
            **one_of(("publish",), "a scope"),
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Lifetime: 90d, 12h. Default: no expiry.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl token create --user ci@corp.example --scope publish --expires 90d
    export ALERTCTL_TOKEN=$(alertctl token create -u me@corp.example --role admin)

    Create a token and print it once; only its hash and last 4 characters are stored.
    """
    lifetime = duration_option("--expires", expires, low=0.001)
    if (role is None) == (scope is None):
        raise typer.BadParameter("give either --role or --scope publish")
    with client_of(context) as client:
        made, secret = client.create_token(user, role, lifetime, scope)
    if output is Output.JSON:
        print_json({"token": secret, **as_json(made)})
        return
    print_line(secret)
    ends = f"until {moment_in_full(made.expires_at)}" if made.expires_at else "until it is revoked"
    eprint(f"{made.scope or made.role} token {short(made.id)} of {made.user}, valid {ends}; it is not shown again")


@app.command("list", short_help="Show all tokens, without their secrets.")
def list_tokens(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl token list
    alertctl token list -o json

    Show all tokens, without their secrets.
    """
    with client_of(context) as client:
        print_list(client.tokens(), COLUMNS, output)


@app.command(short_help="Revoke a token.")
def revoke(
    context: typer.Context,
    id_part: Annotated[str, typer.Argument(metavar="ID", help="Token id, or a unique part of it.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl token revoke 4f1c02ab
    alertctl token revoke 4f1c02ab -o json

    Revoke a token, at once and permanently.
    """
    with client_of(context) as client:
        print_item(client.revoke_token(id_part), COLUMNS, output)


def _state(token: TokenItem, moment: datetime) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= moment else "valid"
