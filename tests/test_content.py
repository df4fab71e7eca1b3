"""Numbers as people read them."""

from __future__ import annotations

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from alertctl.content import Content, Severity, format_number
from tests.support.cases import each
from tests.support.deliveries import NOW


@each(
    ("value", "shown"),
    [
        (0, "0"),
        (-0.0, "0"),
        (7, "7"),
        (12000, "12000"),
        (123456789, "123456789"),
        (523.5, "523.5"),
        (0.07142857, "0.07143"),
        (7.142857, "7.143"),
        (99.996, "100"),
        (0.99999, "1"),
        (1234.56, "1235"),
        (123456.7, "123500"),
        (0.00001234, "0.00001234"),
        (0.000099999, "0.0001"),
        (-0.00001234, "-0.00001234"),
        (-1e-30, "0"),
        (1e22, "10000000000000000000000"),
        (1.2344e23, "123400000000000000000000"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_a_number_has_four_significant_figures_and_no_exponent(value, shown):
    assert format_number(value) == shown


@given(st.floats(min_value=-1e300, max_value=1e300))
def test_a_figure_is_a_plain_decimal_number(value):
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", format_number(value))
    assert format_number(value) != "-0"


@given(st.floats(min_value=1e-15, max_value=1e15) | st.floats(min_value=-1e15, max_value=-1e-15))
def test_a_figure_is_within_half_a_unit_of_its_fourth_digit(value):
    assert math.isclose(float(format_number(value)), value, rel_tol=5.0001e-4)


@given(st.integers(min_value=-(10**14), max_value=10**14))
def test_an_integer_is_shown_without_decimals(value):
    assert format_number(value) == str(value)


def test_a_note_is_added_after_the_others():
    content = Content("generic_alert", "id", "t", "s", Severity.INFO, (), NOW, notes=("a",))
    assert content.with_notes("b", "c").notes == ("a", "b", "c")
    assert content.notes == ("a",)
