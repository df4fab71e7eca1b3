"""The filters that `log` and `log retry` share: look with the one, act with the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.options import ChannelOption, EventOption, StatusOption
from alertctl.cli.output.times import now, parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem, LogFilter, Page

PAGE = 100
"""Rows that are asked for at once; what the API gives at most."""

UserOption = Annotated[str | None, typer.Option(metavar="ID|EMAIL", help="Only what this user's preference chose.")]
Where = Any
"""A LogFilter, in the signature of a command that Typer reads."""


def _option(name: str, kind: Any, *words: str, **more: Any) -> inspect.Parameter:
    option = typer.Option(*words, **more) if words else typer.Option(**more)
    default = False if kind is bool else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _shared(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


TEXT = str | None
FILTERS = (
    _shared("status", StatusOption),
    _shared("event", EventOption),
    _shared("channel", ChannelOption),
    _option("to", TEXT, metavar="ADDRESS", help="Only to this channel or address."),
    _option("since", TEXT, metavar="TIME", help="From then on: 2h, 7d (ago), 2026-11-01, ISO."),
    _option("until", TEXT, metavar="TIME", help="Before then."),
    _option("error", TEXT, metavar="CODE", help="Only with this error: channel_not_found, …"),
    _option("event_id", TEXT, metavar="ID", help="Only of this event (whole id)."),
    _shared("user", UserOption),
    _option("flag", TEXT, metavar="NAME", help="Only about this feature flag."),
    _option("experiment", TEXT, metavar="NAME", help="Only about this experiment."),
    _option("grep", TEXT, metavar="TEXT", help="Only with this text in the event, address, error or answer."),
    _option("retrying", bool, "--retrying", help="Only what failed and will be tried again."),
    _option("final", bool, "--final", help="Only what nothing more will happen to by itself."),
)
"""The filters that `log` and its commands share: look with the one, act with the other."""


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with all filters as options; it gets them as one LogFilter, `where`."""
    own = inspect.signature(command, eval_str=True)
    kept = [one for one in own.parameters.values() if one.name != "where"]

    @wraps(command)
    def run(**given: Any) -> Any:
        context: typer.Context = given["context"]
        if context.invoked_subcommand is not None:
            return _hand_on(context)
        asked = {one.name: given.pop(one.name) for one in FILTERS}
        return command(where=filter_of(**asked), **given)

    parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in kept), *FILTERS]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _hand_on(context: typer.Context) -> None:
    """What stands before a command's name is said to it: `log --status failed retry` is `log retry --status failed`.

    Raises a usage mistake for what that command doesn't know: `log --status failed prune` must not take all.
    """
    group: Any = context.command
    name = str(context.invoked_subcommand)
    known = {one.name for one in group.commands[name].params}
    given = {}
    for option in group.params:
        source = context.get_parameter_source(option.name)
        if source is None or source.name != "COMMANDLINE":
            continue
        if option.name not in known:
            raise typer.BadParameter(f"has no meaning for log {name}", param_hint=option.opts[0])
        value = context.params[option.name]
        given[option.name] = value.value if isinstance(value, Enum) else value
    context.default_map = {name: given}


def filter_of(**asked: Any) -> LogFilter:
    """The filter that a command line means. Raises InvalidEvent or a usage mistake that names the option."""
    from alertctl.schemas import LogFilter

    if asked["event"] is not None:
        # 50 ms of import, that only who asks for a type waits for.
        from alertctl.events import find

        find(asked["event"])
    words = {**asked, "to": _bare_address(asked["to"])}
    return LogFilter(
        event_type=asked["event"],
        since=_moment("--since", asked["since"]),
        until=_moment("--until", asked["until"]),
        retrying=bool(asked["retrying"]),
        final=bool(asked["final"]),
        **{name: _word(name, words[name]) for name in WORDS},
    )


def _bare_address(to: str | None) -> str | None:
    """Return the address of a target as `send --to` takes it; a bare address stays as it is."""
    channel, _, address = (to or "").partition(":")
    return address if channel in CHANNEL_NAMES else to


WORDS = ("status", "channel", "to", "error", "event_id", "user", "flag", "experiment", "grep")


def _word(name: str, text: str | None) -> str | None:
    """A filter that is given says something: `--to "$UNSET" retry` must not send the whole log again."""
    if text is None or (text and not any(ord(each) < 32 or ord(each) == 127 for each in text)):
        return text
    wrong = "should have no control characters" if text else "should not be empty: leave it out to have them all"
    raise typer.BadParameter(wrong, param_hint=f"--{name.replace('_', '-')}")


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_moment(text, now())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


class Pages:
    """`limit` deliveries of the log, read a page at a time as they are taken.

    `total` is how many there are in all, None where counting them would mean to read them all (`grep`); `more`, once
    they are taken, whether there are some behind.
    """

    def __init__(self, client: Client, where: LogFilter, limit: int) -> None:
        self._client, self._where, self._limit = client, where, limit
        self.total: int | None = None
        self.more = False

    def __iter__(self) -> Iterator[DeliveryItem]:
        left, cursor = self._limit, None
        while left > 0:
            page: Page = self._client.log(self._where, limit=min(left, PAGE), cursor=cursor)
            self.total = self.total if cursor else page.total
            yield from page.items
            left, cursor = left - len(page.items), page.next_cursor
            if cursor is None:
                return
        self.more = True
