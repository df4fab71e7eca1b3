"""`alertctl log export`: write any number of deliveries as JSON lines or CSV."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Annotated, Literal

import typer

from alertctl.cli.context import client_of
from alertctl.cli.filters import LogPages, Where, filtered
from alertctl.cli.output.atomic_file import atomic_write
from alertctl.cli.output.deliveries import line_printer
from alertctl.cli.output.progress import bar
from alertctl.cli.output.streams import LogOutput, eprint
from alertctl.errors import InvalidEvent
from alertctl.text import counted

ALL = 10**12
STEP = 1000
"""Deliveries between two updates of the progress bar."""


@filtered
def export(
    context: typer.Context,
    where: Where,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="File to write; default: stdout.")] = None,
    output: Annotated[Literal["jsonl", "csv"], typer.Option("--output", "-o", help="Output format.")] = "jsonl",
    for_spreadsheet: Annotated[
        bool, typer.Option("--for-spreadsheet", help="With -o csv: put ' before cells that begin like a formula.")
    ] = False,
) -> None:
    """
    \b
    alertctl log export > log.jsonl
    alertctl log export --since 30d --status failed -o csv failures.csv
    alertctl log export --event safety_rollback --until 90d old.jsonl

    Export all matching deliveries, newest first, a page at a time.
    """
    if for_spreadsheet and output != "csv":
        raise InvalidEvent("--for-spreadsheet", "is for CSV; add -o csv")
    with client_of(context) as client, _opened(file) as out, bar() as advance:
        pages, written = LogPages(client, where, ALL), 0
        show = line_printer(LogOutput(output), out, for_spreadsheet=for_spreadsheet)
        for written, delivery in enumerate(pages, 1):
            show(delivery)
            if written % STEP == 0:
                advance("deliveries", written, pages.total)
    if file is not None:
        eprint(f"{counted(written, 'delivery')} in {file}")


@contextmanager
def _opened(file: str | None) -> Iterator[IO[str]]:
    if file is None or file == "-":
        yield sys.stdout
        return
    try:
        with atomic_write(file) as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidEvent("FILE", f"{file[:200]}: {error.strerror or error}") from None
