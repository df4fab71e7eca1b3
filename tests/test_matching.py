"""The match language: conditions on events, which conditions include others, and mistakes in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.events import parse
from alertctl.matching import Match, flatten, parse_condition, values_of
from tests.support.cases import each

ROLLBACK = {
    "feature_flag": "checkout-v3",
    "environment": "production",
    "metric": "error_rate",
    "value": 0.07142857,
    "to_percentage": 50,
    "details": {"region": "eu", "retried": True, "count": 12, "a.b": "c", "empty": ""},
    "occurred_at": "2026-03-02T14:32:00+01:00",
}
LABELS = {"team": "payments", "empty": ""}


def match(table: dict[str, object]) -> Match:
    return Match(tuple(parse_condition(key, value) for key, value in flatten(table)))


def holds(event_type: str, fields: dict[str, object], conditions: dict[str, object], labels=LABELS) -> bool:
    return match(conditions).mismatch(values_of(parse(event_type, fields)[0], labels)) is None


@each(
    "conditions",
    [
        {},
        {"event_type": "safety_rollback"},
        {"event_type": ["rollout_advance", "safety_*"]},
        {"severity": "critical"},
        {"severity": ">=warning"},
        {"severity": "> error"},
        {"severity": ["warning", "critical"]},
        {"feature_flag": "checkout-v3"},
        {"feature_flag": "checkout-*"},
        {"feature_flag": ["login", "check?ut-v[0-9]"]},
        {"environment": "production", "metric": "error_*"},
        {"value": 0.07142857},
        {"value": "0.07142857"},
        {"to_percentage": 50},
        {"to_percentage": 50.0},
        {"to_percentage": "50"},
        {"occurred_at": "2026-03-02T13:*"},
        {"details": {"region": "eu"}},
        {"details.retried": True},
        {"details.retried": "true"},
        {"details.count": [11, 12]},
        {"details": {"a": {"b": "c"}}},
        {"labels.team": "pay*"},
        {"labels": {"team": "payments"}},
    ],
)
def test_conditions_that_hold(conditions):
    assert holds("safety_rollback", ROLLBACK, conditions)


@pytest.mark.parametrize(
    "conditions",
    [
        {"event_type": "rollout_*"},
        {"severity": "<critical"},
        {"severity": ["info", "warning"]},
        {"feature_flag": "Checkout-v3"},
        {"feature_flag": "checkout"},
        {"feature_flag": "*-v3", "environment": "staging"},
        {"details.retried": False},
        {"details.region": "EU"},
        {"labels.team": "Payments"},
    ],
)
def test_conditions_that_do_not_hold_and_values_are_compared_with_case(conditions):
    assert not holds("safety_rollback", ROLLBACK, conditions)


@pytest.mark.parametrize("key", ["experiment", "reason", "details.other", "details.empty", "labels.x", "labels.empty"])
def test_a_missing_or_empty_value_matches_nothing(key):
    assert not holds("safety_rollback", ROLLBACK, {key: "*"})


def test_the_severity_of_a_custom_alert_is_its_field():
    for severity, expected in (("info", False), ("warning", True), ("error", True), ("critical", True)):
        fields = {"title": "x", "severity": severity}
        assert holds("generic_alert", fields, {"severity": ">=warning"}) is expected


def test_the_mismatch_is_the_first_condition_that_does_not_hold():
    values = values_of(parse("safety_rollback", ROLLBACK)[0], LABELS)
    mismatch = match({"environment": "production", "feature_flag": ["a", "b-*"], "metric": "x"}).mismatch(values)
    assert mismatch is not None
    assert (mismatch.key, mismatch.text) == ("feature_flag", "a, b-*")


@each(
    ("key", "value", "problem"),
    [
        ("enviroment", "x", "is not a field of an event type; did you mean environment?"),
        ("flag", "x", "is not a field of an event type; did you mean feature_flag?"),
        ("team", "x", 'is not a field of an event type; a label is "labels.team", a detail "details.team"'),
        ("label.team", "x", "is not a field of an event type; did you mean labels.team?"),
        ("labels.", "x", "is not a field of an event type"),
        ("details", "x", "is not a field of an event type"),
        ("event_type", "safety_rolback", '"safety_rolback" is not an event type; did you mean safety_rollback?'),
        ("severity", ">=warn", '">=warn" is not a severity; did you mean warning?'),
        ("severity", ">critical", '">critical" matches no severity'),
        ("severity", "<info", '"<info" matches no severity'),
        ("severity", "=>warning", '"=>warning" is not a severity'),
        ("to_percentage", ">=50", '">=50" compares, but only severity can be compared'),
        ("labels.level", ">= warning", "compares, but only severity can be compared"),
        ("feature_flag", [], "is an empty list, which matches nothing"),
        ("feature_flag", "", "is empty, which matches nothing"),
        ("feature_flag", [["a"]], "is not text, a number, true or false, or a list of these"),
        ("feature_flag", {"a": 1}, "is not text, a number, true or false, or a list of these"),
    ],
)
def test_a_wrong_condition_is_refused_with_the_right_one(key, value, problem):
    with pytest.raises(ValueError) as raised:
        parse_condition(key, value)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        ({}, {"environment": "production"}),
        ({"environment": "production"}, {"environment": "production", "metric": "x"}),
        ({"environment": ["production", "staging"]}, {"environment": "production"}),
        ({"feature_flag": ["checkout-*", "login"]}, {"feature_flag": ["checkout-v1", "checkout-*"]}),
        ({"feature_flag": "*"}, {"feature_flag": "checkout-*"}),
        ({"severity": ">=warning"}, {"severity": "critical"}),
        ({"severity": ">=info"}, {}),
        ({"event_type": "*"}, {"labels.team": "x"}),
        ({"event_type": ["safety_*", "rollout_*"]}, {"event_type": "safety_rollback"}),
    ],
)
def test_a_match_covers_a_stronger_one_and_not_the_other_way_round(weaker, stronger):
    assert match(weaker).covers(match(stronger))
    assert match(weaker).covers(match(weaker))
    assert not match(stronger).covers(match(weaker)) or not stronger


def test_a_field_that_no_matched_event_type_has_is_reported():
    assert match({"event_type": "rollout_advance", "metric": "x"}).missing_field() == "metric"
    assert match({"event_type": ["rollout_advance", "safety_rollback"], "metric": "x"}).missing_field() is None
    assert match({"severity": "info", "labels.team": "x"}).missing_field() is None


_TEXT = st.text("abC*?[]-", min_size=1, max_size=6)
_CONDITIONS = st.dictionaries(
    st.sampled_from(["feature_flag", "environment", "labels.team"]), st.lists(_TEXT, min_size=1, max_size=3), max_size=3
)


@given(_CONDITIONS, _CONDITIONS, _TEXT, _TEXT, _TEXT)
def test_an_event_that_matches_a_covered_match_matches_the_covering_one(first, second, flag, environment, team):
    weaker, stronger = match(first), match(second)
    fields = parse("safety_rollback", {"feature_flag": flag, "environment": environment})[0]
    values = values_of(fields, {"team": team})
    if weaker.covers(stronger) and stronger.mismatch(values) is None:
        assert weaker.mismatch(values) is None


@given(st.text(max_size=50), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_a_condition_is_parsed_or_refused_with_a_sentence(key, value):
    for name in (key, f"labels.{key}", "feature_flag", "severity", "event_type"):
        assert _parsed_key(name, value) in (name, True)


def _parsed_key(key: str, value: object) -> object:
    """Return the key of the parsed condition, else whether the error is one line."""
    try:
        return parse_condition(key, value).key
    except ValueError as error:
        return str(error).isprintable()
