"""The filters that `log` and its commands share, and the pages that they select."""

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
"""Rows of a page: the API's maximum."""

UserOption = Annotated[str | None, typer.Option(metavar="ID|EMAIL", help="Only deliveries by this user's preferences.")]
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
    _option("to", TEXT, metavar="ADDRESS", help="Only deliveries to this address."),
    _option("since", TEXT, metavar="TIME", help="Only deliveries since this time: 2h, 7d (ago), 2026-11-01, ISO 8601."),
    _option("until", TEXT, metavar="TIME", help="Only deliveries before this time."),
    _option("error", TEXT, metavar="CODE", help="Only deliveries with this error: channel_not_found, …"),
    _option("event_id", TEXT, metavar="ID", help="Only deliveries of this event (full id)."),
    _shared("user", UserOption),
    _option("flag", TEXT, metavar="NAME", help="Only deliveries about this feature flag."),
    _option("experiment", TEXT, metavar="NAME", help="Only deliveries about this experiment."),
    _option("grep", TEXT, metavar="TEXT", help="Only deliveries with this text in event, address, error or answer."),
    _option("retrying", bool, "--retrying", help="Only failed deliveries that will be retried."),
    _option("final", bool, "--final", help="Only deliveries in a final state."),
)
"""The filters that `log` and its commands share."""


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with all filters as options. It receives them as one LogFilter, `where`."""
    own = inspect.signature(command, eval_str=True)
    parameters = [parameter for parameter in own.parameters.values() if parameter.name != "where"]

    @wraps(command)
    def run(**values: Any) -> Any:
        context: typer.Context = values["context"]
        if context.invoked_subcommand is not None:
            return _pass_options_on(context)
        texts = {parameter.name: values.pop(parameter.name) for parameter in FILTERS}
        return command(where=filter_of(**texts), **values)

    keyword_only = (parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters)
    signature = inspect.Signature([*keyword_only, *FILTERS])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return run


def _pass_options_on(context: typer.Context) -> None:
    """Pass options on to the subcommand: `log --status failed retry` means `log retry --status failed`.

    Raises BadParameter for an option that the subcommand lacks: `log --status failed prune` must not prune everything.
    """
    group: Any = context.command
    name = str(context.invoked_subcommand)
    known = {parameter.name for parameter in group.commands[name].params}
    values = {}
    for option in group.params:
        source = context.get_parameter_source(option.name)
        if source is None or source.name != "COMMANDLINE":
            continue
        if option.name not in known:
            raise typer.BadParameter(f"has no meaning for log {name}", param_hint=option.opts[0])
        value = context.params[option.name]
        values[option.name] = value.value if isinstance(value, Enum) else value
    context.default_map = {name: values}


def filter_of(**texts: Any) -> LogFilter:
    """Return the filter of the command line. Raises InvalidEvent, or BadParameter with the option's name."""
    from alertctl.schemas import LogFilter

    if texts["event"] is not None:
        # Import only for --event: it takes 50 ms.
        from alertctl.events import find

        find(texts["event"])
    words = {**texts, "to": _bare_address(texts["to"])}
    return LogFilter(
        event_type=texts["event"],
        since=_moment("--since", texts["since"]),
        until=_moment("--until", texts["until"]),
        retrying=bool(texts["retrying"]),
        final=bool(texts["final"]),
        **{name: _word(name, words[name]) for name in WORDS},
    )


def _bare_address(to: str | None) -> str | None:
    """Return the address of a target like `send --to` takes; a bare address is returned unchanged."""
    channel, _, address = (to or "").partition(":")
    return address if channel in CHANNEL_NAMES else to


WORDS = ("status", "channel", "to", "error", "event_id", "user", "flag", "experiment", "grep")


def _word(name: str, text: str | None) -> str | None:
    """Return a filter's text. Raises BadParameter if it is empty: `--to "$UNSET" retry` must not resend everything."""
    if text is None or (text and not any(ord(character) < 32 or ord(character) == 127 for character in text)):
        return text
    problem = "should have no control characters" if text else "should not be empty: leave it out to have them all"
    raise typer.BadParameter(problem, param_hint=f"--{name.replace('_', '-')}")


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_moment(text, now())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


class Pages:
    """Up to `limit` deliveries of the log, read a page at a time while iterating.

    `total` is the number of all matches, None where counting would read the complete log (`grep`). After the iteration
    `more` is whether there are matches beyond `limit`.
    """

    def __init__(self, client: Client, where: LogFilter, limit: int) -> None:
        self._client, self._where, self._limit = client, where, limit
        self.total: int | None = None
        self.more = False

    def __iter__(self) -> Iterator[DeliveryItem]:
        remaining, cursor = self._limit, None
        while remaining > 0:
            page: Page = self._client.log(self._where, limit=min(remaining, PAGE), cursor=cursor)
            self.total = self.total if cursor else page.total
            yield from page.items
            remaining, cursor = remaining - len(page.items), page.next_cursor
            if cursor is None:
                return
        self.more = True
