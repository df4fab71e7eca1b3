"""Tables, times and text: pure functions of the command line."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.cli.output.deliveries import COLUMNS
from alertctl.cli.output.streams import plain
from alertctl.cli.output.table import GAP, Column, fit, print_table
from alertctl.cli.output.times import clock, parse_moment, until

NOW = datetime(2026, 11, 2, 14, 32, tzinfo=UTC)
ROW = (
    "4f1c02ab",
    "11-02 14:32",
    "suppressed",
    "channel_not_found",
    "in 30s",
    "a" * 40,
    "experiment_lifecycle",
    "1",
    "email",
)


def total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


@pytest.mark.parametrize("width", [80, 100, 132])
def test_a_row_of_the_log_fits_with_status_and_error_uncut(width):
    widths = fit(COLUMNS, [ROW], width)
    assert total(widths) <= width
    assert (widths[2], widths[3]) == (len("suppressed"), len("channel_not_found"))
    assert widths[0] == 8


def test_columns_leave_from_the_right_before_any_is_cut():
    columns = (Column("A", least=1), Column("B", extra=True), Column("C", extra=True))
    cells = [["a" * 10, "b" * 10, "c" * 10]]
    assert fit(columns, cells, 40) == {0: 10, 1: 10, 2: 10}
    assert fit(columns, cells, 30) == {0: 10, 1: 10}
    assert fit(columns, cells, 8) == {0: 8}


def test_an_empty_column_is_dropped():
    assert fit((Column("A"), Column("B")), [["a", ""], ["b", ""]], 80) == {0: 1}


@given(st.lists(st.tuples(*[st.text(min_size=1, max_size=60)] * 3), max_size=5), st.integers(10, 200))
def test_no_text_breaks_a_table(rows, width):
    columns = (Column("A", least=1, needed=True), Column("B", least=4), Column("C", extra=True))
    assert total(fit(columns, [[plain(cell, " ") or "x" for cell in row] for row in rows], width)) <= width


@given(st.text())
def test_text_for_a_terminal_holds_no_control_character(text):
    assert all(character >= " " and character != "\x7f" for character in plain(text, " "))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1).astimezone()),
        ("2026-11-01 10:30", datetime(2026, 11, 1, 10, 30).astimezone()),
    ],
)
def test_a_time_may_be_an_age_a_day_or_iso(text, moment):
    assert parse_moment(text, NOW) == moment


@given(st.text())
def test_an_invalid_time_is_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_moment(text, NOW).tzinfo is not None


@pytest.mark.parametrize(
    ("wait", "shown"), [(-1, "due"), (0, "due"), (0.4, "in 1s"), (30, "in 30s"), (240, "in 4m"), (14400, "in 4h")]
)
def test_a_next_attempt_is_shown_as_a_wait(wait, shown):
    assert until(NOW + timedelta(seconds=wait), NOW) == shown


def test_a_time_is_as_long_as_it_must_be():
    assert len(clock(NOW, NOW)) == 8
    assert len(clock(NOW - timedelta(days=3), NOW)) == 11
    assert clock(NOW - timedelta(days=700), NOW) == (NOW - timedelta(days=700)).astimezone().strftime("%Y-%m-%d")
    assert clock(None, NOW) == ""


def test_a_zone_that_python_does_not_know_shows_utc(monkeypatch):
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    monkeypatch.setenv("TZ", "UTC+24")
    time.tzset()
    try:
        assert clock(noon, noon) == "12:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_closed_pipe_is_an_error_of_the_table():
    read, write = os.pipe()
    os.close(read)
    with (
        contextlib.suppress(BrokenPipeError),
        open(write, "w") as closed_pipe,
        contextlib.redirect_stdout(closed_pipe),
        pytest.raises(BrokenPipeError),
    ):
        print_table(COLUMNS, [["x"] * len(COLUMNS)])
