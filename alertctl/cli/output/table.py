"""Tables that fit the terminal: columns are cut, or dropped from the right."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from alertctl.cli.output.streams import (
    Output,
    on_terminal,
    plain,
    print_items,
    print_json,
    print_line,
    stdout_errors,
)

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Blanks between two columns."""
USUAL_WIDTH = 80
NARROW = 60
"""Width of a terminal below which long texts are printed below, not beside their names."""
NARROWEST = 6
"""Width that a column with a `least` keeps on the narrowest terminals."""
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
"""Style of a cell with this text. Colour is never the only sign."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `cell` returns its text for an item.

    `least` is the width down to which it may be cut (further on the narrowest terminals); None: never cut. An `extra`
    column is dropped before any is cut, a `needed` one never. One that `wraps` continues below, uncut. `typical` is its
    width where rows are printed as they arrive.
    """

    name: str
    cell: Callable[[Any], str] = str
    least: int | None = None
    needed: bool = False
    extra: bool = False
    wraps: bool = False
    typical: int = 0


def console(*, quiet: bool = False) -> Console:
    """Return rich's console on stdout: colour on a terminal or with FORCE_COLOR, not with NO_COLOR; mute if `quiet`."""
    from rich.console import Console

    class Stdout(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            with stdout_errors():
                super().print(*objects, **options)

        def on_broken_pipe(self) -> None:
            # rich ends the process with 1 when stdout is closed (`| head -1`). Re-raise the BrokenPipeError that its
            # caller is handling: the command then ends with 0.
            raise

    return Stdout(file=sys.stdout, highlight=False, markup=False, emoji=False, quiet=quiet)


def row_of(item: Any, columns: Sequence[Column]) -> list[str]:
    """Return an item's cells."""
    return [column.cell(item) for column in columns]


def print_list(items: Sequence[Any], columns: Sequence[Column], output: Output = Output.TABLE) -> None:
    """Print items as JSON, or as a table with a row for each."""
    if output is Output.JSON:
        print_items(items)
    else:
        print_table(columns, [row_of(item, columns) for item in items])


def print_item(item: Any, columns: Sequence[Column], output: Output) -> None:
    """Print an item as JSON, or as a table with one row."""
    if output is Output.JSON:
        print_json(item)
    else:
        print_table(columns, [row_of(item, columns)])


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, uncut: bool = False) -> None:
    """Print rows of text under their columns' names. A column that is empty in every row is left out.

    `uncut`: nothing is cut or dropped, at any width of the terminal.
    """
    lines = Lines(columns, [[plain(cell, " ") for cell in row] for row in rows], uncut=uncut)
    lines.print_header()
    for row in rows:
        lines.print(row)


class Lines:
    """Print rows as they arrive, with column widths for `rows`, by default of the columns' typical width.

    `uncut`: nothing is cut; a cell that is wider than its column moves the rest of its line to the right.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Sequence[str]] | None = None, *, uncut: bool = False
    ) -> None:
        self._show = _printer()
        self._columns = columns
        self._uncut = uncut
        self._has_header = False
        cells = [["x" * column.typical for column in columns]] if rows is None else rows
        self._widths = fit(columns, cells, sys.maxsize if uncut else _available_width())

    def print_header(self) -> None:
        """Print the columns' names, if they aren't printed yet."""
        if not self._has_header:
            self._show(_line([column.name for column in self._columns], self._widths, "bold"))
            self._has_header = True

    def print(self, row: Sequence[str]) -> None:
        self.print_header()
        cells, widths = [plain(cell, " ") for cell in row], self._widths
        if self._uncut:
            widths = {index: max(width, _length(cells[index])) for index, width in widths.items()}
        for line in _wrapped(self._columns, cells, widths):
            self._show(_line(line, widths))


Piece = tuple[str, str]
"""A text and the style that it has on a terminal."""


def _printer() -> Callable[[Sequence[Piece]], None]:
    """Return a function that prints a line: with rich on a terminal or with FORCE_COLOR, else without loading rich."""
    if not (on_terminal() or os.environ.get("FORCE_COLOR")):
        return lambda line: print_line("".join(text for text, _ in line).rstrip())
    from rich.text import Text

    out = console()

    def show(line: Sequence[Piece]) -> None:
        text = Text.assemble(*line)
        text.rstrip()
        # soft_wrap: the terminal wraps a line that doesn't fit.
        out.print(text, soft_wrap=True)

    return show


def _available_width() -> int:
    """Return the width of stdout's terminal, else of COLUMNS, else of stdin's or stderr's terminal."""
    if on_terminal():
        return console().width
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return int(columns)
    for stream in (0, 1, 2):
        try:
            return os.get_terminal_size(stream).columns or USUAL_WIDTH
        except OSError:
            continue
    return USUAL_WIDTH


def _wrapped(columns: Sequence[Column], row: Sequence[str], widths: Mapping[int, int]) -> Iterator[list[str]]:
    """Yield the lines of a row: one, or as many as its longest wrapped cell has."""
    parts = [
        wrapped(cell, widths[index]) if column.wraps and index in widths else [cell]
        for index, (column, cell) in enumerate(zip(columns, row, strict=True))
    ]
    return map(list, zip_longest(*parts, fillvalue=""))


def wrapped(text: str, width: int) -> list[str]:
    """Return the text wrapped to a width in cells; CJK characters and emoji take two cells each."""
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(console(), max(width, 2))]


def _line(row: Sequence[str], widths: Mapping[int, int], style: str = "") -> list[Piece]:
    """Return a row's cells, each padded to its column's width except the last."""
    last = next(reversed(widths), None)
    return [
        (_cell(row[index], width, last=index == last), style or STYLES.get(row[index], ""))
        for index, width in widths.items()
    ]


def _cell(text: str, width: int, *, last: bool) -> str:
    length = _length(text)
    if length > width:
        from rich.cells import set_cell_size

        text, length = f"{set_cell_size(text, width - 1)}…", width
    return text if last else text + " " * (width - length + GAP)


def _length(text: str) -> int:
    """Return the width of a text in cells."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """Return the width of each shown column by index; together they fit in `width`, if that is possible."""
    widths = {
        index: max([_length(column.name), *(_length(row[index]) for row in cells)])
        for index, column in enumerate(columns)
        if not cells or any(row[index] for row in cells)
    }
    least = {index: min(natural, columns[index].least or natural) for index, natural in widths.items()}
    _drop_columns(widths, [index for index in widths if columns[index].extra], widths, width)
    _drop_columns(widths, [index for index in widths if not columns[index].needed], least, width)
    _cut(widths, least, width)
    # Still too wide, on a telephone for instance: cut below `least` rather than break lines.
    narrowest = {
        index: min(NARROWEST, minimum) if columns[index].least else minimum for index, minimum in least.items()
    }
    _cut(widths, narrowest, width)
    return widths


def _drop_columns(widths: dict[int, int], candidates: list[int], minimum: Mapping[int, int], width: int) -> None:
    """Drop candidates, the last first, until the remaining columns have their `minimum` width."""
    while candidates and sum(minimum[index] + GAP for index in widths) - GAP > width:
        del widths[candidates.pop()]


def _cut(widths: dict[int, int], least: Mapping[int, int], width: int) -> None:
    """Cut the widest columns, one cell at a time, until all fit or none can be cut."""
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - width
    while excess > 0:
        candidates = [index for index, length in widths.items() if length > least[index]]
        if not candidates:
            return
        widths[max(candidates, key=lambda index: widths[index])] -= 1
        excess -= 1
