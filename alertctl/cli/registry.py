"""The commands by name. Each is imported and built on first use, so that a command doesn't load the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import typer

ROOT_OPTIONS = ("config_file", "database", "server", "timeout", "debug")
"""Parameters of the root command that are accepted after a command too."""
DEFAULT_WAIT = "20s"
"""The value of `send --wait` without one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command's function or group, as `module:attribute` below `commands`, and its line in `alertctl --help`."""

    path: str
    summary: str


ENTRIES: Mapping[str, Entry] = {
    "send": Entry("send:send", "Publish an event and notify its recipients."),
    "test": Entry("test:send_test_message", "Send one real message and show the provider's answer."),
    "preview": Entry("preview:preview", "Show an event's message in the terminal or a browser."),
    "events": Entry("events:events", "List the event types, or one type's fields."),
    "routes": Entry("routes:app", "List the routes, and test which targets an event has."),
    "dispatch": Entry("dispatch:dispatch", "Send due deliveries, then exit; for cron."),
    "serve": Entry("serve:serve", "Run the daemon: HTTP API, deliveries, retries."),
    "status": Entry("status:status", "Show the connection, the queue and paused providers."),
    "doctor": Entry("doctor:doctor", "Find out why messages are not arriving."),
    "demo": Entry("demo:demo", "Run a demo on a local sandbox; needs no configuration."),
    "sandbox": Entry("sandbox:sandbox", "Run local stand-ins for Slack, SendGrid and a mail server."),
    "help": Entry("help:show_help", "Explain a command, or: exit-codes, statuses, times."),
    "log": Entry("log:app", "Show the delivery log; resend or export deliveries."),
    "spool": Entry("spool:app", "Manage events spooled on this machine."),
    "prefs": Entry("prefs:app", "Show and change a user's notification preferences."),
    "user": Entry("user:app", "Add, list, change and remove users."),
    "token": Entry("token:app", "Create, list and revoke access tokens."),
    "config": Entry("config:app", "Show and check the settings."),
    "db": Entry("db:app", "Inspect, upgrade, back up and copy the database."),
}


class Commands(Mapping[str, Any]):
    """The commands by name, each built on first use."""

    def __getitem__(self, name: str) -> Any:
        return _build(name)

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)

    def __contains__(self, name: object) -> bool:
        return name in ENTRIES


@cache
def _build(name: str) -> Any:
    entry = ENTRIES[name]
    module, _, attribute = entry.path.partition(":")
    command = getattr(import_module(f"alertctl.cli.commands.{module}"), attribute)
    # A command takes its help format from the app that it is added to, so each is added to an app of its own.
    parent = typer.Typer(rich_markup_mode=None, add_completion=False, callback=lambda: None)
    if isinstance(command, typer.Typer):
        parent.add_typer(command, name=name, short_help=entry.summary)
    else:
        parent.command(name, short_help=entry.summary)(command)
    group: Any = typer.main.get_command(parent)
    return with_root_options(group.commands[name])


def with_root_options(command: Any) -> Any:
    """Return the command, with the root's options accepted after it and its subcommands too (hidden in their help)."""
    from alertctl.cli.main import app, check_root_options

    def store(context: Any, option: Any, value: Any) -> None:
        if value not in (None, False) and not context.resilient_parsing:
            root_context = context.find_root()
            root_context.params[option.name] = value
            check_root_options(root_context)

    root: Any = typer.main.get_command(app)
    own = {text for option in command.params for text in option.opts}
    for option in root.params:
        if option.name in ROOT_OPTIONS and own.isdisjoint(option.opts):
            accepted = copy(option)
            accepted.callback = store
            accepted.expose_value = False
            accepted.hidden = True
            command.params.append(accepted)
    for subcommand in getattr(command, "commands", {}).values():
        with_root_options(subcommand)
    return command


def with_wait_value(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a value for `send --wait`: Typer has no options whose value may be left out."""
    expanded = list(arguments)
    if "send" in expanded:
        for index in range(expanded.index("send") + 1, len(expanded)):
            following = expanded[index + 1 : index + 2] or [""]
            if expanded[index] == "--wait" and not following[0][:1].isdigit():
                expanded[index] = f"--wait={DEFAULT_WAIT}"
    return expanded
