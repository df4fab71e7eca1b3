"""Tables that fit the terminal: columns shorten, or leave from the right."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from alertctl.cli.output import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GAP = 2
"""Blanks between two columns."""
NARROWEST = 6
"""Cells that a column keeps which may be cut, whatever its `least`."""
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
    """`least` is the width down to which it may be cut (further on a telephone's screen); None: whole or not at all.

    An `extra` one leaves before any is cut; a `needed` one never leaves. One that `wraps` goes on below, uncut.
    """

    name: str
    least: int | None = None
    needed: bool = False
    extra: bool = False
    wraps: bool = False


def console() -> Console:
    """rich on stdout: no colour unless it is a terminal, none with NO_COLOR."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, whole: bool = False) -> None:
    """Print rows of text under their columns' names. A column that has nothing to say in any row is left out.

    `whole`: nothing is cut or left out for want of room.
    """
    out = console()
    cells = [[plain(cell, " ") for cell in row] for row in rows]
    widths = fit(columns, cells, sys.maxsize if whole else out.width)
    # soft_wrap: a line that can't be made to fit is left to the terminal, whole.
    out.print(_line([column.name for column in columns], widths, "bold"), soft_wrap=True)
    for row in cells:
        for line in _wrapped(columns, row, widths):
            out.print(_line(line, widths), soft_wrap=True)


class Lines:
    """Rows that are printed one by one as they come: the columns' widths are those of a `sample`, not of what comes.

    `whole`: nothing is cut; what is wider than the sample pushes the rest of its line to the right.
    """

    def __init__(self, columns: Sequence[Column], sample: Sequence[str], *, whole: bool = False) -> None:
        self._out = console()
        self._names = [column.name for column in columns]
        self._widths = fit(columns, [sample], sys.maxsize if whole else self._out.width)
        self._whole = whole
        self._begun = False

    def print(self, row: Sequence[str]) -> None:
        if not self._begun:
            self._begun = True
            self._out.print(_line(self._names, self._widths, "bold"), soft_wrap=True)
        cells, widths = [plain(cell, " ") for cell in row], self._widths
        if self._whole:
            widths = {place: max(width, len(cells[place])) for place, width in widths.items()}
        self._out.print(_line(cells, widths), soft_wrap=True)


def _wrapped(columns: Sequence[Column], row: Sequence[str], widths: Mapping[int, int]) -> Iterator[list[str]]:
    """The lines that a row takes: one, or as many as its longest wrapped cell has."""
    parts = [
        wrapped(cell, widths[place]) if column.wraps and place in widths else [cell]
        for place, (column, cell) in enumerate(zip(columns, row, strict=True))
    ]
    return map(list, zip_longest(*parts, fillvalue=""))


def wrapped(text: str, width: int) -> list[str]:
    """A text's lines within so many cells, of which CJK and emoji take two each."""
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(console(), max(width, 2))]


def _line(row: Sequence[str], widths: Mapping[int, int], style: str = "") -> Text:
    from rich.text import Text

    line = Text()
    for place, width in widths.items():
        cell = Text(row[place], style=style or STYLES.get(row[place], ""))
        cell.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(cell).append(" " * GAP)
    line.rstrip()
    return line


def fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """The columns that are shown, by place, each with its width, within `width` in all where that is possible."""
    from rich.cells import cell_len

    widths = {
        place: max([cell_len(column.name), *(cell_len(row[place]) for row in cells)])
        for place, column in enumerate(columns)
        if not cells or any(row[place] for row in cells)
    }
    least = {place: min(natural, columns[place].least or natural) for place, natural in widths.items()}
    _leave(widths, [place for place in widths if columns[place].extra], widths, width)
    _leave(widths, [place for place in widths if not columns[place].needed], least, width)
    _cut(widths, least, width)
    # So narrow that it's that or broken lines: a telephone.
    _cut(widths, {place: min(one, NARROWEST) if columns[place].least else one for place, one in least.items()}, width)
    return widths


def _leave(widths: dict[int, int], may: list[int], wanted: Mapping[int, int], width: int) -> None:
    """Take columns away, the last first, until those that stay have the width they want."""
    while may and sum(wanted[place] + GAP for place in widths) - GAP > width:
        del widths[may.pop()]


def _cut(widths: dict[int, int], least: Mapping[int, int], width: int) -> None:
    """Cut the widest of those that may be cut, cell by cell, until they fit."""
    too_much = sum(widths.values()) + GAP * (len(widths) - 1) - width
    while too_much > 0:
        able = [place for place, have in widths.items() if have > least[place]]
        if not able:
            return
        widths[max(able, key=lambda place: widths[place])] -= 1
        too_much -= 1
