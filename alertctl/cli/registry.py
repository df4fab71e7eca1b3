"""Which commands there are. Each is imported and built when it is asked for: nobody waits for those that don't run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, `module:name` in this package, and what the list of commands says of it."""

    place: str
    tells: str
    cls: str | None = None
    """The name of its class of command in the same module, when it has one of its own."""


ENTRIES: Mapping[str, Entry] = {
    "send": Entry("send:send", "Tell people about an event.", "SendCommand"),
    "test": Entry("test:send_test_message", "Send one real message and show the provider's answer."),
    "events": Entry("events:events", "List the types of events, or one type's fields."),
    "dispatch": Entry("dispatch:dispatch", "Send what is due, then end; for cron."),
    "serve": Entry("serve:serve", "Run the daemon: HTTP API, sending, retries."),
    "status": Entry("status:status", "Where am I, what waits, what is paused."),
    "doctor": Entry("doctor:doctor", "Find out why messages are not arriving."),
    "demo": Entry("demo:demo", "See real alerts arrive; needs no configuration."),
    "sandbox": Entry("sandbox:sandbox", "Run a local Slack, SendGrid and mail server."),
    "help": Entry("help:show_help", "Explain a command, or: exit-codes, statuses, times."),
    "log": Entry("log:app", "Show the delivery log, one delivery, or send again."),
    "spool": Entry("spool:app", "Events that could be told to nobody yet."),
    "prefs": Entry("prefs:app", "Show and change what a user is told, and where."),
    "user": Entry("user:app", "Add, list and disable users."),
    "token": Entry("token:app", "Create, list and revoke access tokens."),
    "config": Entry("config:app", "Show and check the settings."),
    "db": Entry("db:app", "Look at the database, upgrade it, back it up, move it."),
}


class Commands(Mapping[str, Any]):
    """The commands by name, each built when it is first asked for."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _built(name, ENTRIES[name])
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)

    def __contains__(self, name: object) -> bool:
        return name in ENTRIES


def _built(name: str, entry: Entry) -> Any:
    module, _, attribute = entry.place.partition(":")
    home = import_module(f"alertctl.cli.commands.{module}")
    found = getattr(home, attribute)
    # A command gets its looks from the tree that it hangs in; so each is hung into one of its own first.
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name, short_help=entry.tells)
    else:
        alone.command(name, cls=getattr(home, entry.cls) if entry.cls else TyperCommand, short_help=entry.tells)(found)
    return typer.main.get_group(alone).commands[name]
