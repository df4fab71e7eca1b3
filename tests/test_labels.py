"""Labels of events: their names, their values, and the filters that name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.errors import InvalidEvent
from alertctl.labels import MAX_LABELS, MAX_VALUE, check_label_name, parse_label_filter, parse_labels
from alertctl.text import width
from tests.support.fuzzing import fixed_examples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("growth", "growth"),
        ("  a\n b\t", "a b"),
        (7, "7"),
        (0.25, "0.25"),
        (True, "true"),
        ("磁盘 🔥", "磁盘 🔥"),
        ("a\x00\x1b[2Jb\ud800", "a[2Jb�"),
        ("token xoxb-123456789012-abcdef", "token ***"),
    ],
)
def test_a_value_becomes_a_clean_line_of_text(value, stored):
    assert parse_labels({"name": value}) == ({"name": stored}, [])


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_label_without_a_value_is_left_out(value):
    assert parse_labels({"team": value, "region": "eu"}) == ({"region": "eu"}, [])


def test_a_long_value_is_cut_with_a_warning():
    labels, warnings = parse_labels({"team": "x" * 300})
    assert labels["team"] == "x" * (MAX_VALUE - 1) + "…"
    assert warnings == ["labels.team: is longer than 255 characters and was cut"]


def test_a_list_or_an_object_is_kept_as_json_with_a_warning():
    labels, warnings = parse_labels({"teams": ["a", "b"]})
    assert labels == {"teams": '["a", "b"]'}
    assert warnings == ["labels.teams: should be text; it is kept as JSON"]


def test_more_labels_than_the_limit_are_left_out_with_a_warning():
    labels, warnings = parse_labels({f"n{number}": "x" for number in range(40)})
    assert list(labels) == [f"n{number}" for number in range(MAX_LABELS)]
    assert warnings == ["labels: only the first 32 of 40 are kept"]


@pytest.mark.parametrize("name", ["a", "app.kubernetes.io/name", "A-b_C.9", "x" * 63])
def test_names_of_letters_digits_and_some_marks_are_accepted(name):
    assert parse_labels({name: "x"}) == ({name: "x"}, [])


@pytest.mark.parametrize("name", ["", "a b", "größe", "a=b", "a\n", "x" * 64, "x" * 1000])
def test_any_other_name_is_refused_in_one_short_line_that_names_it(name):
    with pytest.raises(
        InvalidEvent, match=r"^labels: .* is not a label name: use 1 to 63 characters: letters, digits"
    ) as error:
        parse_labels({name: "x"})
    assert repr(name)[1:50].rstrip("'") in str(error.value)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", [["team=growth"], "team=growth", 7])
def test_labels_that_are_no_object_are_refused(labels):
    with pytest.raises(InvalidEvent, match=r"^labels: should be an object"):
        parse_labels(labels)


@fixed_examples(50, long=10_000)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), JSON))
def test_any_json_becomes_text_that_is_stored_and_compared_alike(labels):
    parsed, _ = parse_labels(labels)
    assert parse_labels(parsed) == (parsed, [])
    for name, value in parsed.items():
        assert 0 < width(value) <= MAX_VALUE
        assert not set(value) & set("\0\n\r\x1b")
        assert parse_label_filter([f"{name}={value}"]) == {name: value}


def test_a_filter_finds_a_value_in_any_form_in_which_it_was_published():
    value = "x" * 300 + " xoxb-123456789012-abcdef"
    assert parse_label_filter([f"team={value}"]) == parse_labels({"team": value})[0]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["team"], "'team' is not NAME=VALUE"),
        (["a b=c"], "'a b' is not a label name"),
        (["team="], "team: should not be empty"),
        (["team=a", "team=b"], "team: occurs twice"),
    ],
)
def test_a_filter_with_a_mistake_is_refused(texts, problem):
    with pytest.raises(ValueError, match=f"^{problem}"):
        parse_label_filter(texts)


def test_a_name_is_compared_with_case():
    assert check_label_name("Team") == "Team"
    assert parse_labels({"Team": "a", "team": "b"})[0] == {"Team": "a", "team": "b"}
