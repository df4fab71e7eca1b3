"""Tables that fit the terminal: columns shorten first, then leave from the right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alertctl.cli.output import plain

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Blanks between two columns."""
STYLES = {
    "success": "green",
    "failed": "red",
    "pending": "yellow",
    "sending": "yellow",
    "suppressed": "dim",
    "critical": "red",
    "error": "red",
    "warning": "yellow",
}
"""What a cell's word looks like on a terminal. The word itself is always there: colour is never the only sign."""


@dataclass(frozen=True, slots=True)
class Column:
    """`least` is the width down to which it may be cut; None: whole or not at all. `needed` ones never leave."""

    name: str
    least: int | None = None
    needed: bool = False


def console() -> Console:
    """rich on stdout: no colour unless it is a terminal, none with NO_COLOR."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their columns' names. A column that has nothing to say in any row is left out."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    cells = [[plain(cell, " ") for cell in row] for row in rows]
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    widths = fit(columns, cells, out.width)
    for place in widths:
        table.add_column(columns[place].name, width=widths[place], no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*(Text(row[place], style=STYLES.get(row[place], "")) for place in widths))
    out.print(table)


def fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """The columns that are shown, by place, each with its width, within `width` in all where that is possible."""
    from rich.cells import cell_len

    natural = {
        place: max([cell_len(column.name), *(cell_len(row[place]) for row in cells)])
        for place, column in enumerate(columns)
        if not cells or column.needed or any(row[place] for row in cells)
    }
    shown = list(natural)
    while len(shown) > 1 and _least(columns, natural, shown) > width:
        leaving = next((place for place in reversed(shown) if not columns[place].needed), None)
        if leaving is None:
            break
        shown.remove(leaving)
    return _shared(columns, {place: natural[place] for place in shown}, width)


def _least(columns: Sequence[Column], natural: dict[int, int], shown: Sequence[int]) -> int:
    return sum(min(natural[place], columns[place].least or natural[place]) for place in shown) + GAP * (len(shown) - 1)


def _shared(columns: Sequence[Column], widths: dict[int, int], width: int) -> dict[int, int]:
    """Cut the widest of those that may be cut, cell by cell, until they fit."""
    too_much = sum(widths.values()) + GAP * (len(widths) - 1) - width
    while too_much > 0:
        able = [place for place, have in widths.items() if have > (columns[place].least or have)]
        if not able:
            break
        widths[max(able, key=lambda place: widths[place])] -= 1
        too_much -= 1
    return widths
