"""The sentences of events, and the events that are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from alertctl import events
from alertctl.content import Severity
from alertctl.errors import InvalidEvent
from alertctl.events import EVENT_TYPES, find, restore
from alertctl.events.base import percent, span, transition
from tests.support.cases import each
from tests.support.deliveries import NOW


def parse(kind: str, fields: dict) -> events.EventFields:
    return events.parse(kind, fields)[0]


def test_a_test_of_routes_needs_no_required_field():
    fields, warnings = events.parse("experiment_lifecycle", {"action": "started", "owner": "growth"}, complete=False)
    assert (fields.event_type, fields.experiment, fields.action, fields.owner) == (
        "experiment_lifecycle",
        None,
        "started",
        "growth",
    )
    assert warnings == []
    assert events.parse("generic_alert", {"severity": "ERROR"}, complete=False)[0].level is Severity.ERROR
    with pytest.raises(InvalidEvent, match=r"^action: "):
        events.parse("experiment_lifecycle", {"action": "exploded"}, complete=False)


def summary(kind: str, **fields) -> str:
    return parse(kind, fields).content("id", NOW).summary


def facts(kind: str, **fields) -> dict[str, str]:
    return {field.name: field.value for field in parse(kind, fields).content("id", NOW).fields}


def rollback(**fields) -> str:
    return summary("safety_rollback", **fields)


@each(
    ("fields", "sentence"),
    [
        ({}, "A feature flag was rolled back for safety."),
        ({"feature_flag": "checkout-v3"}, "checkout-v3 was rolled back for safety."),
        ({"environment": "production"}, "A feature flag was rolled back for safety in production."),
        ({"from_percentage": 50, "to_percentage": 0}, "A feature flag was rolled back for safety from 50% to 0%."),
        ({"to_percentage": 0}, "A feature flag was rolled back for safety to 0%."),
        ({"from_percentage": 12.5}, "A feature flag was rolled back for safety from 12.5%."),
        ({"reason": "too slow"}, "A feature flag was rolled back for safety. Reason: too slow"),
        ({"metric": "error_rate"}, "A feature flag was rolled back for safety because of error_rate."),
        (
            {"metric": "error_rate", "value": 0.07142857, "threshold": 0.05},
            "A feature flag was rolled back for safety: error_rate was 7.143%, above the threshold of 5%.",
        ),
        (
            {"metric": "p95_latency", "value": 523.5, "threshold": 400},
            "A feature flag was rolled back for safety: p95_latency was 523.5 ms, above the threshold of 400 ms.",
        ),
        (
            {"metric": "conversion", "value": 1.5, "threshold": 2, "comparison": "less_than"},
            "A feature flag was rolled back for safety: conversion was 1.5, below the threshold of 2.",
        ),
        (
            {"value": 7, "threshold": 7, "comparison": "equal_to"},
            "A feature flag was rolled back for safety: the metric was 7, equal to the threshold of 7.",
        ),
        ({"value": 0}, "A feature flag was rolled back for safety: the metric was 0."),
        (
            {"threshold": 3},
            "A feature flag was rolled back for safety: the metric was above the threshold of 3.",
        ),
    ],
)
def test_a_rollback_says_what_it_knows_and_nothing_else(fields, sentence):
    assert rollback(**fields) == sentence


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("error_rate", 0.07142857, "7.143%"),
        ("error_rate", 0.0714, "7.14%"),
        ("error_rate", 0, "0%"),
        ("error_rate", 1, "100%"),
        ("error_rate", 0.000001234, "0.0001234%"),
        ("latency", 523.5, "523.5 ms"),
        ("P99_Latency", 1234.567, "1235 ms"),
        ("queue_depth", 12000, "12000"),
        ("queue_depth", 1e20, "100000000000000000000"),
        (None, 0.07142857, "0.07143"),
    ],
)
def test_a_value_is_shown_in_its_metrics_unit_with_four_significant_figures(metric, value, shown):
    assert facts("safety_rollback", metric=metric, value=value)["Value"] == shown


@pytest.mark.parametrize(("comparison", "sign"), [("greater_than", ">"), ("less_than", "<"), ("equal_to", "=")])
def test_a_threshold_is_shown_with_its_comparison(comparison, sign):
    assert facts("safety_rollback", threshold=5, comparison=comparison) == {"Threshold": f"{sign} 5"}


def test_missing_fields_are_not_in_the_facts():
    assert facts("safety_rollback") == {}
    assert facts("safety_rollback", to_percentage=0) == {"Rollout": "to 0%"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"action": "started"}, "An experiment started."),
        ({"action": "paused", "experiment": "cta"}, "cta was paused."),
        ({"action": "resumed", "environment": "staging"}, "An experiment was resumed in staging."),
        ({"action": "stopped"}, "An experiment was stopped."),
        ({"action": "completed", "experiment": "cta", "winner": "B"}, "cta completed. The winner is B."),
        ({"action": "completed", "result": "+3 %"}, "An experiment completed. +3 %"),
    ],
)
def test_an_experiment_says_what_happened_to_it(fields, sentence):
    assert summary("experiment_lifecycle", **fields) == sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "A rollout advanced."),
        ({"feature_flag": "f", "to_percentage": 50}, "The rollout of f advanced to 50%."),
        (
            {"feature_flag": "f", "from_percentage": 10, "to_percentage": 25, "stage": 2, "stages": 5},
            "The rollout of f advanced from 10% to 25% (stage 2 of 5).",
        ),
        ({"stage": 2, "environment": "eu"}, "A rollout advanced in eu (stage 2)."),
    ],
)
def test_a_rollout_says_how_far_it_is(fields, sentence):
    assert summary("rollout_advance", **fields) == sentence


def test_a_planned_stage_is_shown_in_utc():
    assert facts("rollout_advance", next_at="2026-03-02T10:00:00+02:00") == {"Next stage": "2026-03-02 08:00 UTC"}


def test_a_generic_alert_says_its_message_or_else_its_title():
    assert summary("generic_alert", title="Disk full", message="93 % used") == "93 % used"
    assert summary("generic_alert", title="Disk full") == "Disk full."


@pytest.mark.parametrize("title", ["Is it full?", "It is full!", "It is full.", "再起動しました。", "And then…"])
def test_a_title_that_is_a_sentence_gets_no_second_full_stop(title):
    assert summary("generic_alert", title=title) == title


@pytest.mark.parametrize(
    ("kind", "fields", "severity"),
    [
        ("safety_rollback", {}, "critical"),
        ("experiment_lifecycle", {"action": "started"}, "info"),
        ("rollout_advance", {}, "info"),
        ("generic_alert", {"title": "x"}, "info"),
        ("generic_alert", {"title": "x", "severity": "warning"}, "warning"),
    ],
)
def test_every_event_has_a_severity(kind, fields, severity):
    assert parse(kind, fields).content("id", NOW).severity == Severity(severity)


def test_details_come_after_the_facts_in_words():
    details = {"region": "eu", "canary": True, "ratio": 1 / 3, "note": None, "count": 3}
    shown = facts("generic_alert", title="x", source="ci", details=details)
    assert next(iter(shown.items())) == ("Source", "ci")
    assert (shown["canary"], shown["ratio"], shown["count"], shown["note"]) == ("yes", "0.3333", "3", "")


@pytest.mark.parametrize("kind", [kind.event_type for kind in EVENT_TYPES])
def test_every_event_type_can_name_a_link_an_actor_and_a_time(kind):
    least = {"experiment_lifecycle": {"action": "started"}, "generic_alert": {"title": "x"}}.get(kind, {})
    fields = parse(kind, least | {"url": "https://x.example/1", "actor": "ana", "occurred_at": "2026-03-02T14:32:00"})
    content = fields.content("id", NOW)
    assert (content.link, content.notes) == ("https://x.example/1", ("by ana",))
    assert fields.occurred_at == NOW


@each(
    ("kind", "fields", "field", "words"),
    [
        ("generic_alert", {}, "title", "requires it"),
        ("generic_alert", {"title": "  "}, "title", "at least 1"),
        ("generic_alert", {"title": 5}, "title", "string"),
        ("generic_alert", {"title": "x", "severity": "urgent"}, "severity", "'info', 'warning', 'error' or 'critical'"),
        ("generic_alert", {"title": "x", "details": {"k": [1]}}, "details.k", "text, a number, or yes or no"),
        ("generic_alert", {"title": "x", "details": {"k": float("inf")}}, "details.k", "text, a number, or yes or no"),
        ("generic_alert", {"title": "x", "occurred_at": "yesterday"}, "occurred_at", "got 'yesterday'"),
        ("generic_alert", {"title": "x", "occurred_at": "0001-01-01T00:00+01:00"}, "occurred_at", "UTC"),
        ("rollout_advance", {"next_at": "9999-12-31T23:59-01:00"}, "next_at", "UTC"),
        ("experiment_lifecycle", {}, "action", "requires it"),
        ("experiment_lifecycle", {"action": "finished"}, "action", "'started'"),
        ("safety_rollback", {"value": "much"}, "value", "got 'much'"),
        ("safety_rollback", {"value": True}, "value", "not yes or no"),
        ("safety_rollback", {"value": float("nan")}, "value", "finite"),
        ("safety_rollback", {"value": 10**400}, "value", ""),
        ("safety_rollback", {"from_percentage": 101}, "from_percentage", "100"),
        ("safety_rollback", {"comparison": ">"}, "comparison", "greater_than"),
        ("safety_rollback", {"metric": "error_rate", "value": 7.1}, "value", "share from 0 to 1"),
        ("safety_rollback", {"metric": "error_rate", "threshold": 5}, "threshold", "got 5"),
        ("rollout_advance", {"stage": -1}, "stage", "0"),
        ("rollout_advance", {"stage": 1.5}, "stage", "integer"),
        ("safety_rolback", {}, "event_type", "did you mean safety_rollback?"),
        ("", {}, "event_type", "; use safety_rollback"),
        ("x" * 5000, {}, "event_type", "…"),
    ],
)
def test_an_error_names_the_field_and_the_valid_values(kind, fields, field, words):
    with pytest.raises(InvalidEvent) as caught:
        parse(kind, fields)
    assert caught.value.field == field
    assert words in caught.value.message
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


ROLLBACK = "safety_rollback"


@pytest.mark.parametrize(
    ("kind", "fields", "expected", "warning"),
    [
        ("generic_alert", {"severity": "CRITICAL"}, {"severity": "critical"}, "'CRITICAL' is read as critical"),
        ("generic_alert", {"severity": " Warn "}, {"severity": "warning"}, "is read as warning"),
        (ROLLBACK, {"comparison": "Greater than"}, {"comparison": "greater_than"}, "is read as greater_than"),
        (ROLLBACK, {"value": "7%"}, {"value": 7}, "value: '7%' is read as 7"),
        (ROLLBACK, {"metric": "error_rate", "value": "5.7 %"}, {"value": 0.057}, "is read as 0.057"),
        (ROLLBACK, {"metric": "latency", "value": "250ms"}, {"value": 250}, "is read as 250"),
        (ROLLBACK, {"to_percentage": "50%"}, {"to_percentage": 50}, "is read as 50"),
        (
            ROLLBACK,
            {"feture_flag": "x"},
            {"details": {"feture_flag": "x"}},
            "shown as a detail; did you mean feature",
        ),
        (ROLLBACK, {"pod": {"name": "a"}}, {"details": {"pod": '{"name": "a"}'}}, "pod: safety_rollback has no such"),
        (ROLLBACK, {"zzz": 1, "details": {"zzz": 2}}, {"details": {"zzz": 2}}, "zzz: "),
        (ROLLBACK, {"valu": ""}, {"details": {}}, "left out; did you mean value?"),
    ],
)
def test_a_value_with_a_clear_meaning_is_accepted_with_a_warning(kind, fields, expected, warning):
    least = {"title": "x"} if kind == "generic_alert" else {}
    read, (text,) = events.parse(kind, least | fields)
    assert read.model_dump(include=set(expected)) == expected
    assert warning in text


def test_many_unknown_fields_are_all_details_and_few_warnings():
    labels = {f"label_{number}": number for number in range(50)}
    read, warnings = events.parse("generic_alert", {"title": "x", **labels})
    assert read.details == labels
    assert (len(warnings), warnings[-1]) == (11, "40 more unknown fields are shown as details")


def test_an_unknown_field_does_not_hide_what_is_wrong():
    with pytest.raises(InvalidEvent, match="title: is missing"):
        parse("generic_alert", {"titel": "x"})


def test_a_number_may_come_as_text_from_a_command_line():
    assert parse("safety_rollback", {"value": "0.5", "to_percentage": "10"}).value == 0.5


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\udfff\ud800", "😀\ud83d"])
def test_text_that_no_database_takes_is_repaired(text):
    content = parse("generic_alert", {"title": f"x{text}", "details": {text: text}}).content("id", NOW)
    for part in (content.title, *(part for field in content.fields for part in (field.name, field.value))):
        assert "\0" not in part
        part.encode()


def test_a_surrogate_pair_is_put_together():
    assert parse("generic_alert", {"title": "\ud83d\ude00"}).title == "😀"


def stored(event_type="generic_alert", fields='{"title": "x"}', is_test=False):
    common = {"id": "id", "severity": "info", "occurred_at": NOW}
    return SimpleNamespace(event_type=event_type, fields=fields, is_test=is_test, labels=None, **common)


@pytest.mark.parametrize(
    "row", [stored("flag_archived"), stored(fields='{"colour": "red"}'), stored(fields="not JSON")]
)
def test_an_event_of_another_version_still_says_what_it_was(row):
    assert row.event_type.replace("_", " ").capitalize() in restore(row).title
    assert "another version" in restore(row).summary


def test_only_a_test_is_marked_as_a_test():
    assert restore(stored()).notes == ()
    assert "test" in restore(stored(is_test=True)).notes[0]


def test_every_event_type_has_its_name():
    assert [find(kind.event_type) for kind in EVENT_TYPES] == list(EVENT_TYPES)


@pytest.mark.parametrize(
    ("start", "end", "words", "shown"),
    [
        (None, None, "", None),
        (50, 0, " from 50% to 0%", "50% → 0%"),
        (None, 0, " to 0%", "to 0%"),
        (50, None, " from 50%", "from 50%"),
    ],
)
def test_a_span_has_only_the_ends_that_are_known(start, end, words, shown):
    assert (span(start, end), transition(start, end)) == (words, shown)


def test_a_percentage_that_is_unknown_stays_unknown():
    assert (percent(None), percent(0), percent(33.33333)) == (None, "0%", "33.33%")
