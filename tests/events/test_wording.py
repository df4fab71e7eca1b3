"""Titles and summaries in the operator's own words."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels import build
from alertctl.channels.base import OutgoingMessage
from alertctl.content import Content
from alertctl.events import BY_NAME, compose, parse
from alertctl.events.wording import Wording, problems
from alertctl.template_sandbox import OUTPUT_LIMIT
from tests.support.fuzzing import fixed_examples

NOW = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
ROLLBACK = BY_NAME["safety_rollback"].example


def content_of(messages, fields=ROLLBACK, event_type="safety_rollback", labels=None) -> Content:
    typed, _ = parse(event_type, fields)
    return compose(typed, "{}", "id", NOW, labels or {}, Wording.of(messages))


def titled(template, fields=ROLLBACK, **more) -> Content:
    return content_of({"safety_rollback": {"title": template}}, fields, **more)


def test_a_title_is_made_of_fields_and_labels():
    content = titled("{{ labels.team }}: {{ feature_flag }} is back at {{ to_percentage }}%", labels={"team": "growth"})
    assert content.title == "growth: checkout-v3 is back at 0%"
    assert content.warnings == ()


def test_a_summary_that_repeats_the_built_in_title_is_left_out_beside_another_title_too():
    messages = {"generic_alert": {"title": "[db-7] {{ title }}"}}
    content = content_of(messages, {"title": "Disk full"}, "generic_alert")
    assert (content.title, content.is_only_title) == ("[db-7] Disk full", True)
    messages["generic_alert"]["summary"] = "Run the playbook."
    assert content_of(messages, {"title": "Disk full"}, "generic_alert").summary == "Run the playbook."


def test_the_built_in_texts_can_be_part_of_the_new_ones():
    assert titled("{{ title }} ({{ severity }})").title == "Safety rollback: checkout-v3 (critical)"


@pytest.mark.parametrize(
    ("template", "fields", "title"),
    [
        ("[{{ metric }}]", {}, "[]"),
        ("[{{ labels.team }}]", {}, "[]"),
        ("[{{ details.a.b.c }}]", {}, "[]"),
        ("{{ value * 100 }} %", {"value": 0.0714285}, "7.143 %"),
        ("{% if metric %}{{ metric }}{% else %}none{% endif %}", {}, "none"),
        (
            "{% for name, value in details.items() %}{{ name }}={{ value }};{% endfor %}",
            {"details": {"a": True}},
            "a=yes;",
        ),
        ("{{ feature_flag | upper | truncate(5) }}", {"feature_flag": "ab"}, "AB"),
    ],
)
def test_missing_fields_are_empty_and_values_look_as_in_messages(template, fields, title):
    assert titled(template, fields).title == title


def test_a_template_can_loop_over_the_details_of_every_event():
    template = "x{% for name, value in details.items() %} {{ name }}={{ value }}{% endfor %}"
    assert titled(template, {}).title == "x"
    assert titled(template, {"details": {"host": "db-7"}}).title == "x host=db-7"
    assert list(problems({kind: {"title": template} for kind in BY_NAME}, BY_NAME)) == []


def test_field_text_is_not_a_template():
    content = titled("{{ feature_flag }}", {"feature_flag": "{{ 7 * 7 }}<!channel>"})
    assert content.title == "{{ 7 * 7 }}<!channel>"


HOSTILE = [
    "{{ ''.__class__.__mro__ }}{{ feature_flag.format.__globals__ }}",
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in details %}{% for b in details %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ feature_flag.center(1000000000) }}",
    "{{ feature_flag | center(1000000000) }}",
    "{% set x = feature_flag ~ feature_flag %}{{ x }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include 'alert.html' %}",
    "{{ feature_flag",
    "{% if %}",
    "{{ 1 / 0 }}",
    "{% for a in feature_flag %}{{ feature_flag | upper | lower }}{% endfor %}",
    "{% for a in 'abc' | upper if a != 'a' %}{{ a }}{% endfor %}",
    "{% filter upper %}{% for a in details %}{{ details }}{% endfor %}{% endfilter %}",
    "{{ feature_flag" + " | upper" * 200 + " }}",
    "   ",
    "{{ " + "(" * 900 + "1" + ")" * 900 + " }}",
    "x" * 2001,
]


@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
def test_a_template_that_fails_leaves_the_built_in_text_and_a_warning(template):
    started = time.monotonic()
    content = titled(template)
    assert content.title == "Safety rollback: checkout-v3"
    assert content.warnings[0].startswith("[messages.safety_rollback] title: ")
    assert content.warnings[0].endswith("; the built-in text is used")
    assert "\n" not in content.warnings[0]
    # Generous: an unbounded template takes minutes.
    assert time.monotonic() - started < 20


def test_a_result_above_1_mb_is_replaced():
    loop = "{% for name in details %}" + "{{ details.a }}" * 60 + "{% endfor %}"
    fields = {"details": {chr(97 + number % 26) + str(number): "x" for number in range(50)} | {"a": "y" * 20_000}}
    content = titled(loop, fields)
    assert content.title == "Safety rollback"
    assert str(OUTPUT_LIMIT) in content.warnings[0]


@fixed_examples(100, long=10_000)
@given(template=st.text(max_size=60), text=st.text(max_size=60))
def test_no_template_and_no_text_raises(template, text):
    content = content_of(
        {"generic_alert": {"title": template, "summary": "{{ title }}" + template}},
        {"title": f"x{text}", "message": text},
        "generic_alert",
    )
    assert content.title.strip()
    assert content.summary is not None


def test_configuration_mistakes_are_named():
    messages = {
        "safety_rolback": {"title": "x"},
        "generic_alert": {"titel": "x", "summary": "{{ mesage }}"},
        "rollout_advance": {"title": "{{ feature_flag }}", "summary": "{% if %}"},
    }
    lines = [f"{name}: {problem}" for name, problem in problems(messages, BY_NAME)]
    assert [line.partition("; use ")[0] for line in lines] == [
        "[messages.safety_rolback]: there is no event type 'safety_rolback'; did you mean safety_rollback?",
        "[messages.generic_alert]: has no 'titel'; did you mean title?",
        "[messages.generic_alert]: summary: 'mesage' is not a field of generic_alert; did you mean message?",
        "[messages.rollout_advance]: summary: line 1: Expected an expression, got 'end of statement block'",
    ]


def test_every_field_of_every_example_can_be_used():
    for kind in BY_NAME.values():
        fields = "".join(f"{{{{ {name} }}}}" for name in kind.model_fields)
        assert list(problems({kind.event_type: {"title": f"x{fields}"}}, BY_NAME)) == []


def test_both_channels_send_the_new_words(tmp_path):
    from alertctl.config import load

    (tmp_path / "alertctl.toml").write_text('[messages.generic_alert]\ntitle = "Hello {{ source }}"\n')
    settings = load(
        {"EMAIL_FROM_ADDRESS": "a@corp.example", "SMTP_HOST": "localhost", "EMAIL_ENABLED": "true"}
        | {"SLACK_ENABLED": "true"},
        cwd=tmp_path,
    )
    content = content_of(settings.messages, {"title": "x", "source": "db-7"}, "generic_alert")
    messages = [
        str(channel.render(content, OutgoingMessage("id", "a@corp.example"))) for channel in build(settings).values()
    ]
    assert all("Hello db-7" in message for message in messages)
