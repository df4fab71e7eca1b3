"""`alertctl log -f`: what comes and what changes, line by line, each state once."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import typer

from alertctl.cli.filters import Pages
from alertctl.cli.output import LogOutput, compact, print_line
from alertctl.cli.rows import cells, wide_cells
from alertctl.cli.times import now

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem, LogFilter

REMEMBERED = 20_000
"""States that are remembered, so that none is shown twice at the seam between what was there and what comes."""
INTERRUPTED = 130
LAYOUT = (("ID", 8), ("WHEN", 11), ("STATUS", 9), ("ERROR", 17), ("TO", 24), ("NEXT", 6), ("EVENT", 20), ("CHANNEL", 7))
PLACES = (0, 1, 2, 3, 5, 4, 6, 8)
"""Where each column of the layout is in `rows.COLUMNS`. The widths are set beforehand: nobody knows what comes."""


def follow(client: Client, where: LogFilter, last: int, output: LogOutput) -> NoReturn:
    """Print the last ones (all since `where.since`, if that is given), then go on until Ctrl-C. Never returns."""
    show = _printer(output)
    try:
        for one in _once(_stream(client, where, last)):
            show(one)
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    raise typer.Exit(INTERRUPTED)


def _stream(client: Client, where: LogFilter, last: int) -> Iterator[DeliveryItem]:
    changes = client.follow(where)
    # Its first word, which may be nothing, says that it has begun: from here on nothing is missed.
    first = next(changes)
    if where.since is None:
        yield from reversed(list(Pages(client, where, last)))
    if first is not None:
        yield first
    yield from (one for one in changes if one is not None)


def _once(stream: Iterator[DeliveryItem]) -> Iterator[DeliveryItem]:
    """Each state of a delivery once. Being sent is no state to be told: its verdict is."""
    shown: OrderedDict[str, tuple[object, ...]] = OrderedDict()
    for one in stream:
        state = (one.status, one.attempts, one.error)
        if one.status == "sending" or shown.get(one.id) == state:
            continue
        shown[one.id] = state
        shown.move_to_end(one.id)
        if len(shown) > REMEMBERED:
            shown.popitem(last=False)
        yield one


def _printer(output: LogOutput) -> _Printer:
    if output in (LogOutput.JSON, LogOutput.JSONL):
        return lambda one: print_line(compact(one))
    if output is LogOutput.ID:
        return lambda one: print_line(one.id)
    if output is LogOutput.CSV:
        return _csv()
    if output is LogOutput.WIDE:
        return lambda one: print_line("  ".join(filter(None, wide_cells(one))))
    from alertctl.cli.table import Lines

    lines = Lines(LAYOUT, PLACES)
    return lambda one: lines.print(cells(one, now()))


def _csv() -> _Printer:
    import csv

    from alertctl.cli.export import FIELDS
    from alertctl.schemas import as_json

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(FIELDS)

    def show(one: DeliveryItem) -> None:
        row = as_json(one)
        writer.writerow([row[field] for field in FIELDS])

    return show


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Printer = Callable[[DeliveryItem], Any]
