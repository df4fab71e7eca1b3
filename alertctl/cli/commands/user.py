"""`alertctl user`: the users who may call the API and who are notified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.options import RoleArgument, RoleOption
from alertctl.cli.output.streams import Output, OutputOption, print_items, print_json
from alertctl.cli.output.table import Column, print_table
from alertctl.cli.output.times import clock, now

if TYPE_CHECKING:
    from alertctl.schemas import UserItem

HELP = """
\b
alertctl user add dev@corp.example --role developer
alertctl user list

Add, list and disable users, who call the API and get notifications.
"""
app = typer.Typer(name="user", help=HELP, no_args_is_help=True, rich_markup_mode=None)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="User's email address or id.")]


@app.command(short_help="Add a user.")
def add(
    context: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    role: RoleOption = "viewer",
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl user add dev@corp.example
    alertctl user add ops@corp.example --role admin

    Add a user with the default notification preferences.
    """
    with client_of(context) as client:
        _print(client.add_user(email, role), output)


@app.command("list", short_help="Show all users.")
def everybody(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl user list
    alertctl user list -o json

    Show all users.
    """
    with client_of(context) as client:
        users = client.users()
    if output is Output.JSON:
        print_items(users)
    else:
        _table(users)


@app.command("set-role", short_help="Change a user's role.")
def set_role(
    context: typer.Context, user: UserArgument, role: RoleArgument, output: OutputOption = Output.TABLE
) -> None:
    """
    \b
    alertctl user set-role dev@corp.example developer
    alertctl user set-role dev@corp.example admin -o json

    Change a user's role: viewer, analyst, developer or admin.
    """
    with client_of(context) as client:
        _print(client.set_role(user, role), output)


@app.command("set-email", short_help="Change a user's email address.")
def set_email(
    context: typer.Context,
    user: UserArgument,
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl user set-email dev@corp.example dev@new.example
    alertctl user set-email dev@corp.example dev@new.example -o json

    Change a user's email address. A JWT user's next login restores the token's address if no other user has it.
    """
    with client_of(context) as client:
        _print(client.set_email(user, email), output)


@app.command(short_help="Remove a user's JWT identity.")
def unlink(context: typer.Context, user: UserArgument, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl user unlink dev@corp.example
    alertctl user unlink dev@corp.example -o json

    Remove a user's JWT identity (issuer and subject). Tokens with it then belong to another user.
    """
    with client_of(context) as client:
        _print(client.unlink_user(user), output)


@app.command(short_help="Delete a user.")
def remove(context: typer.Context, user: UserArgument, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl user remove dev@corp.example
    alertctl user remove dev@corp.example -o json

    Delete a user with their preferences and tokens. The delivery log stays. To lock a JWT user out, disable them.
    """
    with client_of(context) as client:
        _print(client.remove_user(user), output)


@app.command(short_help="Disable a user.")
def disable(context: typer.Context, user: UserArgument, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl user disable dev@corp.example
    alertctl user disable dev@corp.example -o json

    Disable a user: reject their tokens and stop notifying them.
    """
    with client_of(context) as client:
        _print(client.disable_user(user), output)


@app.command(short_help="Enable a disabled user.")
def enable(context: typer.Context, user: UserArgument, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl user enable dev@corp.example
    alertctl user enable dev@corp.example -o json

    Enable a disabled user, with their previous tokens and preferences.
    """
    with client_of(context) as client:
        _print(client.enable_user(user), output)


def _print(user: UserItem, output: Output) -> None:
    if output is Output.JSON:
        print_json(user)
    else:
        _table([user])


def _table(users: Sequence[UserItem]) -> None:
    moment = now()
    print_table(
        (
            Column("EMAIL", least=12, needed=True),
            Column("ROLE", needed=True),
            Column("STATE"),
            Column("SINCE"),
            Column("ID", least=8),
            Column("JWT USER", least=8, extra=True),
        ),
        [
            (
                user.email or "(none)",
                user.role,
                "disabled" if user.disabled else "",
                clock(user.created_at, moment),
                user.id,
                _identity(user),
            )
            for user in users
        ],
    )


def _identity(user: UserItem) -> str:
    """Return the identity of a JWT user: subject and issuer, as far as they are known."""
    return " at ".join(filter(None, (user.subject, user.issuer)))
