"""`[[routes]]` in TOML: what it may hold, and mistakes in it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import MessageOptions
from alertctl.routing import Routes, parse_routes
from tests.support.cases import each

COMPLETE = """
[[routes]]
name = "payments"
match = { feature_flag = "checkout-*", severity = ">=warning", "labels.team" = "payments" }
to = ["slack:#pay-oncall", "email:pay-oncall@corp.example", "default"]
mention = ["S0123ABC", "ana@corp.example"]
mention_from = "info"
style = "compact"
threads = false
continue = true
"""


def parse(toml: str) -> Routes:
    return parse_routes(tomllib.loads(toml)["routes"])


def test_a_route_with_every_key():
    routes = parse(COMPLETE)
    (route,) = routes.items
    assert routes.problems == ()
    assert [condition.text for condition in route.match.conditions] == ["checkout-*", ">=warning", "payments"]
    assert [(target.channel, target.address, target.route) for target in route.to] == [
        ("slack", "#pay-oncall", "payments"),
        ("email", "pay-oncall@corp.example", "payments"),
    ]
    assert {target.options for target in route.to} == {
        MessageOptions("compact", ("S0123ABC", "ana@corp.example"), "info", False)
    }
    assert (route.adds_default, route.continues, route.broken) == (True, True, False)


def test_a_channel_s_form_of_messages_counts_where_the_route_sets_none():
    tables = tomllib.loads('[[routes]]\nname = "x"\nto = ["#a", "a@corp.example"]\nmention_from = "error"')["routes"]
    (route,) = parse_routes(tables, {"slack": MessageOptions("compact")}).items
    assert [target.options for target in route.to] == [
        MessageOptions("compact", mention_from="error"),
        MessageOptions(mention_from="error"),
    ]


@each(
    ("lines", "problem"),
    [
        ("", "routes.x.to: is missing; list targets"),
        ("too = []", "routes.x.too: a route has no such key; did you mean to?"),
        ('to = "slack:"', "routes.x.to: '' is not a Slack channel"),
        ('to = ["sms:1"]', "routes.x.to: 'sms:1' is not a target"),
        ("to = 1", "routes.x.to: 1 is not a list of targets"),
        ('to = ["slack:#a", "email:a@b@c"]', "routes.x.to: 'a@b@c' is not a single email address"),
        ('to = []\nmatch = "x"', 'routes.x.match: "x" is not a table of conditions'),
        (
            'to = []\nmatch.featureflag = "x"',
            "routes.x.match.featureflag: is not a field of an event type; did you mean feature_flag?",
        ),
        ('to = []\nmatch.severity = ">= high"', 'routes.x.match.severity: ">= high" is not a severity'),
        ('to = []\nstyle = "short"', 'routes.x.style: "short" is not one of full, compact'),
        ('to = []\nmention = ["@ana"]', 'routes.x.mention: "@ana" is neither an email address nor the id'),
        ('to = []\nmention_from = "high"', 'routes.x.mention_from: "high" is not one of info, warning'),
        ('to = []\nthreads = "subject"', 'routes.x.threads: "subject" is neither true nor false'),
        ("to = []\ncontinue = 2", "routes.x.continue: 2 is neither true nor false"),
    ],
)
def test_a_mistake_is_one_line_with_the_route_and_the_key(lines, problem):
    routes = parse(f'[[routes]]\nname = "x"\n{lines}')
    assert len(routes.problems) == 1
    assert routes.problems[0].startswith(problem)
    assert routes.problems[0].endswith("(in alertctl.toml)")
    assert routes.items[0].broken


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[[routes]]\nto = []", "routes.1.name: is missing; name the route"),
        ('[[routes]]\nname = "a:b"\nto = []', 'routes.1.name: "a:b" is not a name'),
        ('[[routes]]\nname = ""\nto = []', 'routes.1.name: "" is not a name'),
        (f'[[routes]]\nname = "{"x" * 61}"\nto = []', 'routes.1.name: "xxx'),
        ('[[routes]]\nname = "a"\nto = []\n[[routes]]\nname = "a"\nto = []', "routes.a.name: is the name of a route"),
        ("routes = [1]", "routes.1: 1 is not a table; write [[routes]]"),
        ('[routes]\nname = "a"', "routes: is not a list of tables; write [[routes]]"),
        ('routes = "none"', "routes: is not a list of tables; write [[routes]]"),
    ],
)
def test_a_route_needs_a_name_and_its_own_table(toml, problem):
    routes = parse(toml)
    assert len(routes.problems) == 1
    assert routes.problems[0].startswith(problem)


def test_all_mistakes_of_a_route_are_listed():
    routes = parse('[[routes]]\nname = "x"\nmatch = { flag = "a", labels = 1 }\nto = ["a", "b"]\nstyle = 1\nx = 1')
    assert [line.partition(":")[0] for line in routes.problems] == [
        "routes.x.x",
        "routes.x.match.flag",
        "routes.x.match.labels",
        "routes.x.style",
        "routes.x.to",
        "routes.x.to",
    ]


def test_the_hash_is_that_of_the_rules_and_not_of_their_notation():
    same = COMPLETE.replace(
        'match = { feature_flag = "checkout-*", severity = ">=warning", "labels.team" = "payments" }',
        'match."labels.team" = "payments"\nmatch.severity = ">=warning"\nmatch.feature_flag = "checkout-*"',
    )
    assert parse(same).hash == parse(COMPLETE).hash
    assert parse(COMPLETE.replace("payments", "checkout")).hash != parse(COMPLETE).hash
    assert parse_routes(()).hash == Routes().hash


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=9), values, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(["name", "match", "to", "mention", "style", "threads", "continue", "x\n"])


@given(st.lists(st.dictionaries(_KEYS, _VALUES) | _VALUES, max_size=3) | _VALUES)
def test_no_table_raises_and_every_problem_is_a_line(tables):
    routes = parse_routes(tables)
    assert all(problem.isprintable() and problem.startswith("routes") for problem in routes.problems)
    assert all(route.broken for route in routes.items) or not routes.problems or len(routes.items) > 1
