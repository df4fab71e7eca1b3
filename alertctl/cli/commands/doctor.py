"""`alertctl doctor`: find out why messages are not arriving, and how to fix it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.commands.help import CHECK_FAILED
from alertctl.cli.context import settings_of, warn_about_settings
from alertctl.cli.options import one_of
from alertctl.cli.output.streams import Output, OutputOption, eprint, plain, print_items
from alertctl.cli.output.table import GAP, NARROW, console
from alertctl.cli.output.times import now
from alertctl.errors import InvalidEvent
from alertctl.text import counted

if TYPE_CHECKING:
    from rich.text import Text

    from alertctl.doctor import Finding

SIGNS = {"ok": ("✓", "ok"), "warning": ("!", "!"), "failure": ("✗", "x"), "unknown": ("?", "?")}
"""A sign for each outcome, and its ASCII replacement."""
STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red", "unknown": "cyan"}
WORDS = {"ok": "ok", "warning": "warning", "failure": "failure", "unknown": "can't tell"}
COUNTED = ("warning", "failure")
"""Outcomes whose word has a plural."""
ALL = "all"
AREAS = (*CHANNEL_NAMES, "db", "server", ALL)
AreaArgument = Annotated[
    str, typer.Argument(metavar="|".join(AREAS), help="Area to check.", **one_of(AREAS, "an area"))
]


def doctor(context: typer.Context, area: AreaArgument = ALL, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl doctor
    alertctl doctor slack
    alertctl doctor -o json

    Find out why messages are not arriving. Sends no messages. With ALERTCTL_SERVER it checks that server instead of a
    database.

    Signs: ✓ ok, ! warning, ✗ failure, ? can't tell. Exits with 10 if a check failed, with
    2 if a wrong setting prevents the checks.
    """
    from alertctl.doctor import checks_for, run

    warn_about_settings(context)
    settings = settings_of(context)
    checks = [check for check in checks_for(settings) if area in (ALL, check.area)]
    if not checks:
        if area == "server":
            raise InvalidEvent(area, "ALERTCTL_SERVER is not set; run alertctl doctor db")
        advice = "run alertctl doctor on its machine, or alertctl doctor server"
        raise InvalidEvent(area, f"ALERTCTL_SERVER is set, and that server sends; {advice}")
    findings = run(checks, settings, now())
    if output is Output.JSON:
        print_items(asdict(finding) for finding in findings)
    else:
        print_findings(findings)
    if any(finding.outcome == "failure" for finding in findings):
        raise typer.Exit(CHECK_FAILED)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a row for each check, its fix below its result. Long text is wrapped, never cut."""
    from rich.table import Table
    from rich.text import Text

    narrow = console().width < NARROW
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for name in ("",) if narrow else ("", "AREA", "CHECK"):
        table.add_column(name, no_wrap=True)
    table.add_column("CHECK" if narrow else "WHAT", overflow="fold")
    for finding in findings:
        sign, text = _sign(finding.outcome), Text(plain(finding.what, " "))
        if finding.fix:
            text.append(f"\nFix: {plain(finding.fix, ' ')}", style="bold" if finding.outcome == "failure" else "")
        if narrow:
            table.add_row(sign, Text(f"{finding.area} {finding.check}\n").append_text(text))
        else:
            table.add_row(sign, finding.area, finding.check, text)
    console().print(table)
    numbers = Counter(finding.outcome.value for finding in findings)
    eprint(", ".join(_count(numbers[outcome], outcome) for outcome in WORDS if numbers[outcome]))


def _count(number: int, outcome: str) -> str:
    return counted(number, outcome) if outcome in COUNTED else f"{number} {WORDS[outcome]}"


def _sign(outcome: str) -> Text:
    from rich.text import Text

    sign, simple = SIGNS[outcome]
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        sign = simple
    return Text(sign, style=STYLES[outcome])
