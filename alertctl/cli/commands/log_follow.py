"""`alertctl log -f`: print new and changed deliveries, each state once."""

from __future__ import annotations

import select
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NoReturn

import typer

from alertctl.cli.filters import LogPages
from alertctl.cli.output.deliveries import COLUMNS, WIDE, line_printer
from alertctl.cli.output.streams import LogOutput
from alertctl.cli.output.table import Lines, row_of
from alertctl.client import Client
from alertctl.schemas import DeliveryItem, LogFilter

REMEMBERED = 20_000
"""Deliveries whose last state is remembered, so that none is shown twice where history and changes overlap."""
INTERRUPTED = 130


def follow(client: Client, where: LogFilter, last: int, output: LogOutput) -> NoReturn:
    """Print the last deliveries (all since `where.since`, if set), then changes until Ctrl-C. Never returns."""
    show = _printer(output)
    try:
        for delivery in _changed_states(_stream(client, where, last)):
            if delivery is not None:
                show(delivery)
                sys.stdout.flush()
            elif _is_stdout_closed():
                raise BrokenPipeError
    except KeyboardInterrupt:
        pass
    raise typer.Exit(INTERRUPTED)


def _stream(client: Client, where: LogFilter, last: int) -> Iterator[DeliveryItem | None]:
    changes = client.follow(where)
    # Once its first item arrives, which may be None, the stream misses nothing.
    first = next(changes)
    if where.since is None:
        yield from reversed(list(LogPages(client, where, last)))
    yield first
    yield from changes


def _changed_states(stream: Iterator[DeliveryItem | None]) -> Iterator[DeliveryItem | None]:
    """Yield each state of a delivery once, and none of an attempt before the last one shown.

    `sending` is not shown. A state that a delivery returns to is shown again: a resent delivery fails without a new
    attempt while its provider's circuit breaker is open.
    """
    shown: OrderedDict[str, tuple[int, str, str | None]] = OrderedDict()
    for delivery in stream:
        if delivery is None:
            yield None
            continue
        last, state = shown.get(delivery.id), (delivery.attempts, delivery.status, delivery.error)
        if delivery.status == "sending" or state == last or (last is not None and delivery.attempts < last[0]):
            continue
        shown[delivery.id] = state
        shown.move_to_end(delivery.id)
        if len(shown) > REMEMBERED:
            shown.popitem(last=False)
        yield delivery


def _is_stdout_closed() -> bool:
    """Return whether the reader of stdout has closed it (`| head`): a quiet log writes nothing that would fail."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(flags & (select.POLLERR | select.POLLHUP) for _, flags in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        # stdout is not a file, or a system without poll().
        return False


def _printer(output: LogOutput) -> Callable[[DeliveryItem], object]:
    if output not in (LogOutput.TABLE, LogOutput.WIDE):
        return line_printer(output)
    is_wide = output is LogOutput.WIDE
    columns = WIDE if is_wide else COLUMNS
    lines = Lines(columns, uncut=is_wide)
    return lambda delivery: lines.print(row_of(delivery, columns))
