"""Tables that fit the terminal: columns shorten, or leave from the right."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from alertctl.cli.output.streams import on_terminal, plain, print_line

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Blanks between two columns."""
USUAL_WIDTH = 80
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
    """Return rich's console on stdout: no colour unless it is a terminal, none with NO_COLOR."""
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            # rich ends the process with 1 when stdout is closed (`| head -1`). Re-raise the BrokenPipeError that its
            # caller is handling: the command then ends with 0.
            raise

    return Stdout(file=sys.stdout, highlight=False, markup=False, emoji=False)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, whole: bool = False) -> None:
    """Print rows of text under their columns' names. A column that has nothing to say in any row is left out.

    `whole`: nothing is cut or left out for want of room.
    """
    show = _printer()
    cells = [[plain(cell, " ") for cell in row] for row in rows]
    widths = fit(columns, cells, sys.maxsize if whole else _room())
    show(_line([column.name for column in columns], widths, "bold"))
    for row in cells:
        for line in _wrapped(columns, row, widths):
            show(_line(line, widths))


class Lines:
    """Rows that are printed one by one as they come: the columns' widths are those of a `sample`, not of what comes.

    `whole`: nothing is cut; what is wider than the sample pushes the rest of its line to the right.
    """

    def __init__(self, columns: Sequence[Column], sample: Sequence[str], *, whole: bool = False) -> None:
        self._show = _printer()
        self._names = [column.name for column in columns]
        self._widths = fit(columns, [sample], sys.maxsize if whole else _room())
        self._whole = whole
        self._begun = False

    def print(self, row: Sequence[str]) -> None:
        if not self._begun:
            self._begun = True
            self._show(_line(self._names, self._widths, "bold"))
        cells, widths = [plain(cell, " ") for cell in row], self._widths
        if self._whole:
            widths = {place: max(width, _length(cells[place])) for place, width in widths.items()}
        self._show(_line(cells, widths))


Piece = tuple[str, str]
"""A text and the style that it has on a terminal."""


def _printer() -> Callable[[Sequence[Piece]], None]:
    """Prints a line: with rich on a terminal. A script that reads a pipe has no use for colours, and needn't wait for
    what makes them to be imported."""
    if not on_terminal():
        return lambda line: print_line("".join(text for text, _ in line).rstrip())
    from rich.text import Text

    out = console()

    def show(line: Sequence[Piece]) -> None:
        text = Text.assemble(*line)
        text.rstrip()
        # soft_wrap: a line that can't be made to fit is left to the terminal, whole.
        out.print(text, soft_wrap=True)

    return show


def _room() -> int:
    """The width of the terminal; without one as COLUMNS says, else as the terminal is from which the command came."""
    if on_terminal():
        return console().width
    asked = os.environ.get("COLUMNS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    for stream in (0, 1, 2):
        try:
            return os.get_terminal_size(stream).columns or USUAL_WIDTH
        except OSError:
            continue
    return USUAL_WIDTH


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


def _line(row: Sequence[str], widths: Mapping[int, int], style: str = "") -> list[Piece]:
    """The cells, each as wide as its column; the last one isn't filled up."""
    last = next(reversed(widths), None)
    return [
        (_cell(row[place], width, last=place == last), style or STYLES.get(row[place], ""))
        for place, width in widths.items()
    ]


def _cell(text: str, width: int, *, last: bool) -> str:
    have = _length(text)
    if have > width:
        from rich.cells import set_cell_size

        text, have = f"{set_cell_size(text, width - 1)}…", width
    return text if last else text + " " * (width - have + GAP)


def _length(text: str) -> int:
    """Cells that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """The columns that are shown, by place, each with its width, within `width` in all where that is possible."""
    widths = {
        place: max([_length(column.name), *(_length(row[place]) for row in cells)])
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
