"""python -m tests.benchmarks [NAME…] [--quick] [--json FILE] [--fail] [--SIZE N…]"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.databases import open_databases
from tests.benchmarks.lines import Line
from tests.benchmarks.rows import ROWS
from tests.benchmarks.setup import Setup
from tests.benchmarks.sizes import QUICK, Sizes, choose_sizes
from tests.benchmarks.table import size_of_machine, table, write_json
from tests.support.postgres import NoPostgres

DATABASES = ("sqlite", "postgres")
BROKEN = "this benchmark failed"
WIDTH = 160
"""Columns of the table in a file or a pipe."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__import__(__package__).__doc__)
    parser.add_argument("rows", nargs="*", metavar="NAME", help=f"only these: {', '.join(ROWS)}")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--quick", action="store_true", help="small sizes and fewer rounds: below two minutes in all")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there, too")
    parser.add_argument("--fail", action="store_true", help="end with 1 when a bar is missed")
    parser.add_argument("--on", choices=DATABASES, action="append", help="only on this kind of database")
    parser.add_argument("--folder", help="where SQLite's files go, a disk rather than memory (default: temporary)")
    for field in fields(Sizes):
        shown = f"default {field.default}, with --quick {getattr(QUICK, field.name)}"
        parser.add_argument(f"--{field.name}", type=type(field.default), metavar="N", help=shown)
    parsed = parser.parse_args(argv)
    if unknown := set(parsed.rows) - set(ROWS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))} (there are {', '.join(ROWS)})")
    return parsed


def measure(setup: Setup, names: list[str]) -> Iterator[Line]:
    """Yield the lines of these benchmarks. One that fails becomes a line with the error, and the others go on."""
    for name in names:
        began = time.monotonic()
        try:
            yield from ROWS[name](setup)
        except Exception as error:
            traceback.print_exc()
            note = f"{type(error).__name__}: {error}"
            yield Line(row=name, what=BROKEN, database="-", value=None, unit="", note=note[:300])
        setup.report(f"{name}: {time.monotonic() - began:.0f} s")


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    options = arguments()
    if options.list:
        print("\n".join(f"{name:<11} {(row.__doc__ or '').splitlines()[0]}" for name, row in ROWS.items()))
        return 0
    began, sizes = datetime.now(UTC), choose_sizes(options.quick, vars(options))
    try:
        with open_databases(tuple(options.on or DATABASES), options.folder) as databases, ExitStack() as opened:
            lines = list(measure(Setup(sizes, databases, report, opened), options.rows or list(ROWS)))
    except NoPostgres as error:
        report(f"no Postgres: {error}; --on sqlite leaves it out")
        return 1
    show(lines, f"{began:%Y-%m-%d}, {size_of_machine()}{', quick' if options.quick else ''}")
    if options.json:
        write_json(options.json, lines, sizes, options.quick, began)
    missed = options.fail and any(line.result == "missed" for line in lines)
    return int(missed or any(line.what == BROKEN for line in lines))


def show(lines: list[Line], about: str) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table(lines))
    console.print(about)


if __name__ == "__main__":
    sys.exit(main())
