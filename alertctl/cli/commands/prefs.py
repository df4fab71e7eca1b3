"""`alertctl prefs`: a user's notification preferences."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from alertctl.channels import CHANNEL_TYPES
from alertctl.cli.context import client_of
from alertctl.cli.options import OwnUserOption
from alertctl.cli.output.deliveries import short
from alertctl.cli.output.streams import Output, OutputOption, print_json, print_pairs
from alertctl.cli.output.table import Column, print_list
from alertctl.schemas import Prefs
from alertctl.suggestions import suggest

HELP = """
\b
alertctl prefs get --user dev@corp.example
alertctl prefs set --user dev@corp.example notify_on_rollout_advance=on

Show and change a user's notification preferences.
"""
app = typer.Typer(name="prefs", help=HELP, no_args_is_help=True, rich_markup_mode=None)

ADDRESS_BY_CHANNEL = {kind.name: kind.address_preference for kind in CHANNEL_TYPES if kind.address_preference}
ADDRESS_PREFERENCES = tuple(ADDRESS_BY_CHANNEL.values())
SWITCHES = tuple(f"{channel}_enabled" for channel in ADDRESS_BY_CHANNEL)
ON_OFF = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
UNSET_ADDRESS = {kind.address_preference: "default" if kind.users_have_address else "none" for kind in CHANNEL_TYPES}
"""The word for an address that isn't set: without one, a user has the registered email and no Slack channel."""
DEFAULTS = ("", "default", "none", "null")
"""Values that reset an address to its default."""


def complete_change(incomplete: str) -> list[str]:
    words = [f"{name}={word}" for name in _switches() for word in ("on", "off")]
    return [word for word in [*words, *(f"{name}=" for name in ADDRESS_PREFERENCES)] if word.startswith(incomplete)]


ChangesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME=VALUE...", help="Preferences to change.", autocompletion=complete_change)
]


@app.command("get", short_help="Show a user's preferences.")
def get(context: typer.Context, user: OwnUserOption = None, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl prefs get --user dev@corp.example
    alertctl prefs get --user dev@corp.example -o json

    Show a user's preferences.
    """
    with client_of(context) as client:
        _print(client.preferences(user), output)


@app.command("set", short_help="Change some of a user's preferences.")
def change(
    context: typer.Context, changes: ChangesArgument, user: OwnUserOption = None, output: OutputOption = Output.TABLE
) -> None:
    """
    \b
    alertctl prefs set --user dev@corp.example notify_on_rollout_advance=on
    alertctl prefs set --user dev@corp.example email_enabled=off slack_channel=#x
    alertctl prefs set --user dev@corp.example slack_channel=default

    Change some of a user's preferences; the others stay. alertctl prefs get prints their names.
    """
    values = dict(_change(text) for text in changes)
    with client_of(context) as client:
        _print(client.set_preferences(user, values), output)


@app.command(short_help="Reset a user's preferences to the defaults.")
def reset(context: typer.Context, user: OwnUserOption = None, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl prefs reset --user dev@corp.example
    alertctl prefs reset --user dev@corp.example -o json

    Reset all of a user's preferences to the defaults.
    """
    with client_of(context) as client:
        _print(client.reset_preferences(user), output)


@app.command("list", short_help="Show all users' preferences.")
def list_all(
    context: typer.Context,
    page: Annotated[int, typer.Option(metavar="N", min=1, help="Page number.")] = 1,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Users on a page.")] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl prefs list
    alertctl prefs list --page 2 --limit 100 -o json

    Show all users' preferences.
    """
    with client_of(context) as client:
        preferences = client.all_preferences(page, limit)
    columns = (
        Column("USER", lambda prefs: short(str(prefs["user_id"])), least=8, needed=True),
        *(Column(channel.upper(), partial(_address, channel), least=8) for channel in ADDRESS_BY_CHANNEL),
        Column("EVENTS", _events, least=20, wraps=True),
    )
    print_list(preferences, columns, output)


def _address(channel: str, prefs: Prefs) -> str:
    name = ADDRESS_BY_CHANNEL[channel]
    return _shown(name, prefs[name]) if prefs[f"{channel}_enabled"] else "off"


def _events(prefs: Prefs) -> str:
    chosen = [name for name, value in prefs.items() if name.startswith("notify_on_") and value]
    return ", ".join(name.removeprefix("notify_on_") for name in chosen) or "none"


def _print(prefs: Prefs, output: Output) -> None:
    if output is Output.JSON:
        print_json(prefs)
    else:
        print_pairs([(name, _shown(name, value)) for name, value in prefs.items()])


def _shown(name: str, value: bool | str | None) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value or UNSET_ADDRESS.get(name, "none")


def _switches() -> list[str]:
    from alertctl.events import PREFERENCES

    return [*SWITCHES, *(f"notify_on_{kind}" for kind in PREFERENCES)]


def _change(text: str) -> tuple[str, Any]:
    """Parse `name=value` into a preference and its new value; None resets it to the default."""
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text[:60]!r} is not name=value", param_hint="NAME=VALUE")
    switches, word = _switches(), value.strip().lower()
    if name in ADDRESS_PREFERENCES:
        return name, None if word in DEFAULTS else value.strip()
    if name not in switches:
        known = [*switches, *ADDRESS_PREFERENCES]
        raise typer.BadParameter(f"{name[:60]!r} is not a preference{suggest(name, known)}", param_hint="NAME=VALUE")
    if word not in ON_OFF:
        raise typer.BadParameter(f"{value[:60]!r} is neither on nor off", param_hint=name)
    return name, ON_OFF[word]
