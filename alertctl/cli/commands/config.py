"""`alertctl config show|check`: the settings, their origins and their mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from alertctl.cli.context import flags_of, speak_up
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_items, warn
from alertctl.errors import ConfigError

LONG = ("value", "message")
"""The columns that are printed below on a narrow terminal."""

HELP = """
\b
alertctl config show
alertctl config check

Show every setting with its origin; check the settings for errors.
"""
app = typer.Typer(name="config", help=HELP, no_args_is_help=True, rich_markup_mode=None)


@app.command(short_help="Show every setting and its origin.")
def show(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl config show
    alertctl --config staging.toml config show -o json

    Show every setting, its value (secrets masked) and its origin.
    """
    from alertctl.config import load

    speak_up()
    settings = load(flags=flags_of(context), refuse=False)
    _print(("name", "value", "origin"), settings.describe(), output)
    for name, refusal in settings.refusals.items():
        warn(f"{name}: {refusal.message}")


@app.command(short_help="Check the settings for errors.")
def check(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl config check
    alertctl --config staging.toml config check -o json

    Check the settings and list each problem by its variable. Exits with 2 on an error. While a value
    is wrong, settings are not checked against each other.
    """
    from alertctl.config import SettingProblem, load
    from alertctl.config import check as find_problems
    from alertctl.config.warnings import warnings
    from alertctl.preview import appearance_problems

    speak_up()
    flags = flags_of(context)
    try:
        settings = load(flags=flags, refuse=False)
        problems = find_problems(settings)
        if settings.routes:
            from alertctl.routing import check_routes, routing_rules_of

            problems += check_routes(routing_rules_of(settings))
        problems += [SettingProblem(name, "error", message) for name, message in appearance_problems(settings)]
    except ConfigError as error:
        # Settings that can't be read can't be checked together: report what can't be read.
        lines = (line.partition(": ") for line in error.problems)
        problems = [SettingProblem(name, "error", message) for name, _, message in lines]
    problems += [SettingProblem(name, "warning", message) for name, message in warnings(flags=flags)]
    rows = list(dict.fromkeys((problem.severity, problem.name, problem.message) for problem in problems))
    if rows or output is Output.JSON:
        _print(("severity", "name", "message"), rows, output)
    if not rows:
        eprint("The settings are valid.")
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(2)


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]], output: Output) -> None:
    if output is Output.JSON:
        print_items(dict(zip(columns, row, strict=True)) for row in rows)
        return
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from alertctl.cli.output.table import NARROW, console

    out = console()
    if out.width < NARROW:
        for row in rows:
            cells = dict(zip(columns, row, strict=True))
            long = next(cells.pop(name) for name in LONG if name in cells)
            out.print(Text("  ".join(cells.values()), style="bold"))
            out.print(Padding(Text(long, overflow="fold"), (0, 0, 0, 2)))
        return

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        # Never wrap names: people search for them.
        table.add_column(column.upper(), no_wrap=column in {"name", "severity"}, overflow="fold")
    for row in rows:
        # Text, not str: a value in square brackets is not markup.
        table.add_row(*map(Text, row))
    out.print(table)
