"""The filters that `log` and its commands share, and the pages that they select."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.options import ChannelOption, EventOption, StatusOption
from alertctl.cli.output.times import now, parse_moment
from alertctl.client import Client
from alertctl.labels import parse_label_filter
from alertctl.schemas import DeliveryItem, LogFilter, Page

T = TypeVar("T")
PAGE = 100
"""Rows of a page: the API's maximum."""

Where = Any
"""A LogFilter, in the signature of a command that Typer reads."""


def _text(metavar: str, text: str) -> Any:
    return Annotated[str | None, typer.Option(metavar=metavar, help=text)]


FILTERS = {
    "status": StatusOption,
    "event": EventOption,
    "channel": ChannelOption,
    "to": _text("ADDRESS", "Only deliveries to this address."),
    "since": _text("TIME", "Only deliveries since this time: 2h, 7d (ago), 2026-11-01, ISO 8601."),
    "until": _text("TIME", "Only deliveries before this time."),
    "error": _text("CODE", "Only deliveries with this error: channel_not_found, …"),
    "event_id": _text("ID", "Only deliveries of this event (full id)."),
    "user": _text("ID|EMAIL", "Only deliveries that this user's preferences caused."),
    "flag": _text("NAME", "Only deliveries about this feature flag."),
    "experiment": _text("NAME", "Only deliveries about this experiment."),
    "label": Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only deliveries of events with this label; repeatable."),
    ],
    "grep": _text("TEXT", "Only deliveries with this text in a field or label, the address, the error or the answer."),
    "retrying": Annotated[bool, typer.Option("--retrying", help="Only failed deliveries that will be retried.")],
    "final": Annotated[bool, typer.Option("--final", help="Only deliveries in a final state.")],
}
"""The filters that `log` and its commands share, as Typer's options."""


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with all filters as options. It receives them as one LogFilter, `where`."""
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["where"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in own.values()]
    for name, option in FILTERS.items():
        default = False if name in ("retrying", "final") else None
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=option))

    @wraps(command)
    def run(**values: Any) -> Any:
        context: typer.Context = values["context"]
        if context.invoked_subcommand is not None:
            return _pass_options_on(context)
        texts = {name: values.pop(name) for name in FILTERS}
        return command(where=filter_of(**texts), **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
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
        if not option.expose_value:
            # An option of the root command (see `registry`), which applies to all.
            continue
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
    if texts["event"] is not None:
        # Import only for --event: it takes 50 ms.
        from alertctl.events import find

        find(texts["event"])
    channel, _, address = (texts["to"] or "").partition(":")
    if channel in CHANNEL_NAMES:
        # A target, like `send --to` takes.
        texts["to"] = address
    return LogFilter(
        event_type=texts["event"],
        since=_parsed("--since", _moment, texts["since"]),
        until=_parsed("--until", _moment, texts["until"]),
        retrying=bool(texts["retrying"]),
        final=bool(texts["final"]),
        labels=_parsed("--label", parse_label_filter, texts["label"] or ()),
        **{name: _word(name, texts[name]) for name in WORDS},
    )


WORDS = ("status", "channel", "to", "error", "event_id", "user", "flag", "experiment", "grep")


def _word(name: str, text: str | None) -> str | None:
    """Return a filter's text. Raises BadParameter if it is empty: `--to "$UNSET" retry` must not resend everything."""
    if text is None or (text and not any(ord(character) < 32 or ord(character) == 127 for character in text)):
        return text
    problem = "should have no control characters" if text else "should not be empty: leave it out to have them all"
    raise typer.BadParameter(problem, param_hint=f"--{name.replace('_', '-')}")


def _parsed(option: str, parse: Callable[[Any], T], value: Any) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_moment(text, now())


class LogPages:
    """Up to `limit` deliveries of the log, read a page at a time while iterating.

    `total` is the number of all matches, None where counting would read the complete log (`grep`). After the iteration
    `more` is whether there are matches beyond `limit`.
    """

    def __init__(self, client: Client, where: LogFilter, limit: int) -> None:
        self._client = client
        self._where = where
        self._limit = limit
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
