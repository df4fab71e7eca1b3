"""The check of routes: mistakes are errors; routes that match nothing or take critical alerts away are warnings."""

from __future__ import annotations

import tomllib

import pytest

from alertctl.routing import RoutingRules, Target, check_routes, parse_routes

OWN = (Target("slack", "#platform-alerts", "default_channel"), Target("email", "ops@corp.example", "admin_email"))
BOTH = frozenset({"slack", "email"})


def warnings(toml: str, enabled: frozenset[str] = BOTH) -> list[str]:
    routes = parse_routes(tomllib.loads(toml)["routes"])
    return [f"{item.name}: {item.message}" for item in check_routes(RoutingRules(OWN, enabled, routes=routes))]


def route(name: str, match: str, to: str = '["default"]', more: str = "") -> str:
    return f'[[routes]]\nname = "{name}"\nmatch = {{ {match} }}\nto = {to}\n{more}\n'


def test_mistakes_come_first_as_errors():
    toml = route("a", 'metric = "x", event_type = "rollout_advance"') + route("b", 'flag = "x"')
    problems = check_routes(RoutingRules(OWN, BOTH, routes=parse_routes(tomllib.loads(toml)["routes"])))
    assert [(item.name, item.severity) for item in problems] == [
        ("routes.b.match.flag", "error"),
        ("routes.a", "warning"),
    ]


@pytest.mark.parametrize(
    "toml",
    [
        route("a", 'environment = "production"') + route("b", 'environment = "staging"'),
        route("a", 'environment = "production"', more="continue = true") + route("b", 'environment = "production"'),
        route("a", 'event_type = "safety_rollback", metric = "x"'),
        route("a", 'severity = ">=warning"', '["slack:#a", "email:a@corp.example"]'),
        route("a", 'severity = "<critical"', "[]"),
        route("a", 'event_type = "rollout_advance"', "[]"),
        route("a", 'event_type = "generic_alert"', "[]"),
        route("a", 'feature_flag = "x"', '["#a"]', "continue = true") + route("rest", "", '["email:a@corp.example"]'),
    ],
)
def test_routes_without_problems(toml):
    assert [line for line in warnings(toml) if not line.startswith("routes.rest")] == []


def test_a_route_below_a_weaker_one_is_never_reached():
    toml = route("all", 'environment = "prod*"') + route("one", 'environment = "prod*", feature_flag = "x"')
    assert warnings(toml) == ["routes.one: is never reached: all above matches the same events; move it up"]


def test_a_route_on_a_field_that_its_event_type_lacks_matches_nothing():
    toml = route("a", 'event_type = "rollout_advance", metric = "error_rate"')
    assert warnings(toml) == ["routes.a: matches no event: rollout_advance has no field metric; correct match"]


@pytest.mark.parametrize(
    ("to", "channels"),
    [("[]", ["email", "slack"]), ('["slack:#a"]', ["email"]), ('["email:a@corp.example"]', ["slack"])],
)
def test_a_route_that_takes_critical_alerts_away_from_a_channel_is_a_warning(to, channels):
    assert warnings(route("a", 'environment = "production"', to)) == [
        f"routes.a: takes the critical safety_rollback away from {channel}; "
        'add a target there or "default", or exclude the type'
        for channel in channels
    ]


def test_many_routes_with_the_same_warning_share_a_line():
    toml = "".join(route(f"r{number}", f'feature_flag = "f{number}"', '["slack:#a"]') for number in range(300))
    (line,) = warnings(toml)
    assert line.startswith("routes: 300 routes (r0, r1, r2, …): each takes the critical safety_rollback away from")
    assert len(warnings("".join(route(f"r{number}", f'metric = "{number}"', '["#a"]') for number in range(3)))) == 3


def test_a_route_that_names_more_people_than_a_message_mentions_is_a_warning():
    names = [f"a{number}@corp.example" for number in range(51)]
    assert warnings(route("a", 'feature_flag = "x"', more=f"mention = {names[:50]}")) == []
    assert warnings(route("a", 'feature_flag = "x"', more=f"mention = {names}")) == [
        "routes.a: names 51 people and groups, but a message mentions only the first 50; name a user group"
    ]


def test_a_channel_that_is_off_loses_nothing():
    assert warnings(route("a", "", '["slack:#a"]'), frozenset({"slack"})) == []
