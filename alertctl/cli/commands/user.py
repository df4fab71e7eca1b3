"""`alertctl user`: the users who may call the API and who are notified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.options import RoleArgument, RoleOption
from alertctl.cli.output.streams import Output, OutputOption
from alertctl.cli.output.table import Column, print_item, print_list
from alertctl.cli.output.times import clock, now
from alertctl.client import Client
from alertctl.schemas import UserItem

HELP = """
\b
alertctl user add dev@corp.example --role developer
alertctl user list

Manage the users who call the API and get notifications.
"""
app = typer.Typer(name="user", help=HELP, no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("EMAIL", lambda user: user.email or "(none)", least=12, needed=True),
    Column("ROLE", lambda user: user.role, needed=True),
    Column("STATE", lambda user: "disabled" if user.disabled else ""),
    Column("SINCE", lambda user: clock(user.created_at, now())),
    Column("ID", lambda user: user.id, least=8),
    Column("JWT USER", lambda user: " at ".join(filter(None, (user.subject, user.issuer))), least=8, extra=True),
)
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
        print_item(client.add_user(email, role), COLUMNS, output)


@app.command("list", short_help="Show all users.")
def list_users(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl user list
    alertctl user list -o json

    Show all users.
    """
    with client_of(context) as client:
        print_list(client.users(), COLUMNS, output)


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
        print_item(client.change_user(user, role=role), COLUMNS, output)


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

    Change a user's email address. A JWT user's next call changes it back to the JWT's, except if
    another user has that address.
    """
    with client_of(context) as client:
        print_item(client.change_user(user, email=email), COLUMNS, output)


def _user_command(name: str, summary: str, description: str, change: Callable[[Client, str], UserItem]) -> None:
    """Add a command whose only argument is a user."""

    def command(context: typer.Context, user: UserArgument, output: OutputOption = Output.TABLE) -> None:
        with client_of(context) as client:
            print_item(change(client, user), COLUMNS, output)

    example = f"alertctl user {name} dev@corp.example"
    app.command(name, short_help=summary, help=f"\b\n{example}\n{example} -o json\n\n{description}")(command)


_user_command(
    "unlink",
    "Remove a user's JWT identity.",
    "Remove a user's JWT identity (issuer and subject). A later JWT with this identity registers a new user, "
    "or JWT_LINK_BY_EMAIL links it again.",
    lambda client, user: client.unlink_user(user),
)
_user_command(
    "remove",
    "Delete a user.",
    "Delete a user with their preferences and tokens. The delivery log stays. "
    "Disable JWT users instead: their next call would add them again.",
    lambda client, user: client.remove_user(user),
)
_user_command(
    "disable",
    "Disable a user.",
    "Disable a user: reject their tokens and stop notifying them.",
    lambda client, user: client.change_user(user, disabled=True),
)
_user_command(
    "enable",
    "Enable a disabled user.",
    "Enable a disabled user, with their previous tokens and preferences.",
    lambda client, user: client.change_user(user, disabled=False),
)
