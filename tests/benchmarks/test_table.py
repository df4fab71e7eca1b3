"""Bars, and their results in the table and the JSON. The benchmark itself is not a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from rich.console import Console

from tests.benchmarks.__main__ import arguments
from tests.benchmarks.lines import Bar, Line, compared, percentile
from tests.benchmarks.rows import ROWS
from tests.benchmarks.sizes import QUICK, Sizes, choose_sizes
from tests.benchmarks.table import table, write_json


def line(**more) -> Line:
    return Line(**({"row": "r", "what": "w", "database": "SQLite", "value": 12.0, "unit": "ms"} | more))


def test_a_row_meets_its_bar_by_ratio_difference_or_absolute_value():
    assert line(yardstick=10.0, bar=Bar(at_most=1.2)).result == "met"
    assert line(yardstick=10.0, bar=Bar(at_most=1.1)).result == "missed"
    assert line(yardstick=10.0, bar=Bar(at_least=1.3)).result == "missed"
    assert line(yardstick=10.0, bar=Bar(at_most=2, unit="ms more"), by="more").result == "met"
    assert line(yardstick=10.0, bar=Bar(at_most=1, unit="ms more"), by="more").result == "missed"
    assert line(bar=Bar(at_most=12, unit="")).result == "met"
    assert line(bar=Bar(at_most=11, unit="")).result == "missed"


def test_a_row_without_a_figure_or_a_bar_is_neither_met_nor_missed():
    assert line(value=None, bar=Bar(at_most=1)).result == "not measured"
    assert line(bar=Bar(at_most=100, unit=""), judged=False).result == "not judged"
    assert line().result == ""


def test_rounds_are_summed_up_by_the_medians_of_both_sides():
    measured = compared("r", "w", "SQLite", "ms", [(10, 5), (90, 6), (11, 7)], "bare", Bar(at_most=2))
    assert (measured.value, measured.yardstick, measured.rounds) == (11, 6, 3)
    assert measured.result == "met"


def test_a_percentile_is_one_of_the_values():
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([3.0], 0.99)) == (51, 100, 3)


def test_the_table_says_in_words_what_is_met_and_what_is_missed():
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    lines = [line(yardstick=10.0, bar=Bar(at_most=1.5)), line(yardstick=10.0, bar=Bar(at_most=1.1), note="why")]
    with console.file:
        console.print(table(lines))
    shown = console.export_text()
    assert "1.20x  <= 1.5x  met" in shown
    assert "1.20x  <= 1.1x  missed" in shown
    assert "why" in shown


def test_the_json_holds_every_round(tmp_path):
    measured = compared("r", "w", "SQLite", "ms", [(10, 5), (12, 6)], "bare", Bar(at_most=2))
    write_json(tmp_path / "b.json", [measured], QUICK, True, datetime.now(UTC))
    document = json.loads((tmp_path / "b.json").read_text())
    (only,) = document["lines"]
    assert (only["values"], only["yardsticks"], only["bar"]) == ([10, 12], [5, 6], "<= 2x")
    assert document["sizes"]["rounds"] == QUICK.rounds
    assert document["machine"]["cores"] >= 1


def test_sizes_come_from_the_arguments_else_from_the_kind_of_run():
    options = vars(arguments(["deliver", "--alerts", "70", "--quick"]))
    assert choose_sizes(True, options).alerts == 70
    assert choose_sizes(True, options).rounds == QUICK.rounds
    assert choose_sizes(False, vars(arguments([]))) == Sizes()


def test_every_row_says_what_it_does():
    assert all((row.__doc__ or "").endswith((".", ".\n")) for row in ROWS.values())
