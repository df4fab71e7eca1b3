"""`alertctl log -f`: what comes and what changes, line by line, each state once."""

from __future__ import annotations

import select
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.commands.log_export import csv_printer
from alertctl.cli.filters import Pages
from alertctl.cli.output.deliveries import COLUMNS, ID_SHOWN, WIDE, cells, wide_cells
from alertctl.cli.output.streams import LogOutput, compact, print_line
from alertctl.cli.output.times import now

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem, LogFilter

REMEMBERED = 20_000
"""Deliveries whose last state is remembered, so that none is shown twice where what was there meets what comes."""
INTERRUPTED = 130
SAMPLE = (
    "0" * ID_SHOWN,
    "11-02 14:32",
    "suppressed",
    "duplicate of 01900000-0000-7000-8000-000000000000"[:24],
    "in 30s",
    "somebody@example.corp.example",
    "experiment_lifecycle",
    "12",
    max(CHANNEL_NAMES, key=len),
)
"""A row as wide as most are, in `rows.COLUMNS`: the table's widths are set before anybody knows what comes."""
WIDE_SAMPLE = (
    "0" * 36,
    "2026-11-02 14:32:05 CEST",
    "suppressed",
    "channel_not_found",
    "rate_limited",
    "2026-11-02 14:32:05 CEST",
    max(CHANNEL_NAMES, key=len),
    "somebody@example.corp.example",
    "experiment_lifecycle",
    "12",
    "1200 ms",
    "2026-11-02 14:32:05 CEST",
    "1700000000.000001",
    "0" * 36,
)
"""The same in `rows.WIDE`."""


def follow(client: Client, where: LogFilter, last: int, output: LogOutput) -> NoReturn:
    """Print the last ones (all since `where.since`, if that is given), then go on until Ctrl-C. Never returns."""
    show = _printer(output)
    try:
        for one in _once(_stream(client, where, last)):
            if one is not None:
                show(one)
                sys.stdout.flush()
            elif _unread():
                raise BrokenPipeError
    except KeyboardInterrupt:
        pass
    raise typer.Exit(INTERRUPTED)


def _stream(client: Client, where: LogFilter, last: int) -> Iterator[DeliveryItem | None]:
    changes = client.follow(where)
    # Its first word, which may be nothing, says that it has begun: from here on nothing is missed.
    first = next(changes)
    if where.since is None:
        yield from reversed(list(Pages(client, where, last)))
    yield first
    yield from changes


def _once(stream: Iterator[DeliveryItem | None]) -> Iterator[DeliveryItem | None]:
    """Each state of a delivery once, and none of an attempt before the one that was shown last.

    Being sent is no state to be told: its verdict is. One that a delivery comes back to is told again: it is resent,
    and fails once more without an attempt, as its provider is left alone.
    """
    shown: OrderedDict[str, tuple[int, str, str | None]] = OrderedDict()
    for one in stream:
        if one is None:
            yield None
            continue
        last, state = shown.get(one.id), (one.attempts, one.status, one.error)
        if one.status == "sending" or state == last or (last is not None and one.attempts < last[0]):
            continue
        shown[one.id] = state
        shown.move_to_end(one.id)
        if len(shown) > REMEMBERED:
            shown.popitem(last=False)
        yield one


def _unread() -> bool:
    """Whether whoever read our output has gone (`| head`): a quiet log would never find out by writing."""
    try:
        asked = select.poll()
        asked.register(sys.stdout.fileno(), 0)
        return any(told & (select.POLLERR | select.POLLHUP) for _, told in asked.poll(0))
    except (OSError, ValueError, AttributeError):
        # No file behind it, or a system that can't be asked.
        return False


def _printer(output: LogOutput) -> Callable[[DeliveryItem], Any]:
    if output in (LogOutput.JSON, LogOutput.JSONL):
        return lambda one: print_line(compact(one))
    if output is LogOutput.ID:
        return lambda one: print_line(one.id)
    if output is LogOutput.CSV:
        return csv_printer(sys.stdout)
    from alertctl.cli.output.table import Lines

    if output is LogOutput.WIDE:
        wide = Lines(WIDE, WIDE_SAMPLE, whole=True)
        return lambda one: wide.print(wide_cells(one))
    lines = Lines(COLUMNS, SAMPLE)
    return lambda one: lines.print(cells(one, now()))
