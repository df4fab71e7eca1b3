"""A test of routes gives the verdict of every route and preference, and the targets that publishing would choose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from alertctl import preferences, users
from alertctl.errors import InvalidEvent, NotFound
from alertctl.publish import prepare, publish
from alertctl.route_test import MAX_USER_TARGETS, list_routes, run_route_test
from alertctl.routing import parse_routes
from alertctl.schemas import PublishRequest, RouteItem
from tests.support.deliveries import EVERYBODY, NOW

ROUTES = parse_routes(
    [
        {
            "name": "payments",
            "match": {"feature_flag": "checkout-*", "severity": ">=warning", "labels": {"team": ["pay", "billing"]}},
            "to": ["slack:#pay", "email:pay@corp.example"],
            "style": "compact",
            "continue": True,
        },
        {"name": "growth", "match": {"labels.team": "growth"}, "to": ["slack:#growth", "default"]},
        {"name": "staging", "match": {"environment": "staging"}, "to": []},
    ]
)
RULES = replace(EVERYBODY, routes=ROUTES)
ANA = "ana@corp.example"


def event(event_type="safety_rollback", labels=None, to=(), **fields):
    return PublishRequest(event_type=event_type, fields=fields, labels=labels or {}, to=list(to))


def result_of(request, connection=None, user=None, rules=RULES):
    return run_route_test(request, rules, connection, user)


def verdicts(request):
    return {item.name: (item.verdict, item.mismatch, item.why) for item in result_of(request).routes}


def targets(result):
    return [(f"{item.channel}:{item.to}", item.outcome, item.source, item.cause) for item in result.targets]


def add_user(connection: Connection, email=ANA, **changes):
    user = users.add_user(connection, email, "viewer", NOW)
    if changes:
        preferences.update(connection, user.id, changes, NOW)
    return user


def test_the_list_has_every_route_and_the_default_targets():
    listed = list_routes(RULES)
    assert listed.items[0] == RouteItem(
        order=1,
        name="payments",
        match={"feature_flag": "checkout-*", "severity": ">=warning", "labels.team": "pay, billing"},
        to=["slack:#pay", "email:pay@corp.example"],
        options={"style": "compact"},
        continues=True,
    )
    assert [(item.order, item.name, item.to, item.continues) for item in listed.items[1:]] == [
        (2, "growth", ["slack:#growth", "default"], False),
        (3, "staging", [], False),
    ]
    assert listed.default == ["slack:#platform-alerts", "email:ops@corp.example"]


def test_every_verdict_has_its_cause():
    assert verdicts(event(feature_flag="checkout-v3", labels={"team": "growth"})) == {
        "payments": ("not matched", "labels.team", "labels.team is growth, not pay, billing"),
        "growth": ("matched", None, None),
        "staging": ("not reached", None, "growth matched and does not continue"),
    }
    assert verdicts(event(environment="staging")) == {
        "payments": ("not matched", "feature_flag", "feature_flag is missing"),
        "growth": ("not matched", "labels.team", "labels.team is missing"),
        "staging": ("matched", None, None),
    }
    assert verdicts(event(to=["slack:#x"]))["payments"] == ("not reached", None, "the caller names the targets")


def test_a_route_with_a_mistake_adds_the_default_targets_and_its_verdict_says_so():
    tables = [{"name": "payments", "match": {"flag": "checkout-v3"}, "to": ["slack:#pay"]}]
    rules = replace(RULES, routes=parse_routes(tables))
    (route,) = result_of(event(feature_flag="checkout-v3"), rules=rules).routes
    assert route.why == "has a mistake and adds the default targets instead: see alertctl config check"


def test_the_targets_have_the_rule_that_chose_them_and_the_cause_of_their_suppression():
    assert targets(result_of(event(feature_flag="checkout-v3", labels={"team": "pay", "slack": "#extra"}))) == [
        ("slack:#pay", "deliver", "route payments", None),
        ("email:pay@corp.example", "deliver", "route payments", None),
        ("slack:#extra", "deliver", "label slack", None),
    ]
    slack_only = replace(RULES, enabled=frozenset({"slack"}))
    assert targets(result_of(event(environment="staging"), rules=slack_only)) == [
        ("slack:#platform-alerts", "suppress", "route staging", "route staging"),
        ("email:ops@corp.example", "suppress", "route staging", "route staging"),
    ]
    assert targets(result_of(event(feature_flag="x"), rules=slack_only)) == [
        ("slack:#platform-alerts", "deliver", "SLACK_DEFAULT_CHANNEL", None),
        ("email:ops@corp.example", "suppress", "NOTIFICATION_ADMIN_EMAILS", "email_disabled"),
    ]


def test_a_missing_required_field_is_missing_and_refuses_nothing():
    result = result_of(event("generic_alert", severity="warning"))
    assert (result.event_type, result.severity, result.warnings) == ("generic_alert", "warning", [])
    assert {item.verdict for item in result.routes} == {"not matched"}


@pytest.mark.parametrize("request_", [event("no_such_type"), event(labels={"a b": "c"}), event(to=["nowhere"])])
def test_a_wrong_event_is_refused(request_):
    with pytest.raises(InvalidEvent):
        result_of(request_)


def test_a_label_that_names_no_channel_is_a_warning():
    assert "slack" in result_of(event(labels={"slack": "not a channel"})).warnings[0]


@pytest.mark.postgres
def test_a_test_chooses_the_targets_that_publishing_chooses(store):
    store.write(lambda connection: add_user(connection, slack_channel="#ana"))
    for request in (
        event(feature_flag="checkout-v3", labels={"team": "pay", "slack": "#extra"}),
        event(labels={"team": "growth"}),
        event("rollout_advance", environment="staging"),
        event("experiment_lifecycle", experiment="cta", action="started"),
        event(to=["slack:#x"]),
    ):
        with store.reading() as connection:
            expected = [(item.channel, item.to, item.cause) for item in result_of(request, connection).targets]
        receipt = store.write(lambda connection, request=request: publish(connection, prepare(request, RULES), NOW))
        assert [(item.channel, item.to, item.error) for item in receipt.deliveries] == expected


def test_without_a_user_the_preferences_of_all_users_count(store):
    store.write(
        lambda connection: (add_user(connection), add_user(connection, "bob@corp.example", email_enabled=False))
    )
    with store.reading() as connection:
        result = result_of(event(), connection)
    assert [(item.to, item.source, item.user) for item in result.targets if item.user] == [(ANA, "preferences", ANA)]
    assert result.preferences == []


@pytest.mark.parametrize(
    ("event_type", "changes", "expected"),
    [
        ("safety_rollback", {}, [("slack", "slack_channel is not set"), ("email", ANA)]),
        ("safety_rollback", {"slack_channel": "#ana"}, [("slack", "#ana"), ("email", ANA)]),
        (
            "safety_rollback",
            {"email_enabled": False},
            [("slack", "slack_channel is not set"), ("email", "email_enabled is off")],
        ),
        (
            "safety_rollback",
            {"notify_on_safety_rollback": False},
            [("slack", "notify_on_safety_rollback is off"), ("email", "notify_on_safety_rollback is off")],
        ),
        (
            "rollout_advance",
            {"notify_on_rollout_advance": True, "slack_channel": "#ana"},
            [("slack", "#ana"), ("email", "rollout_advance goes to slack only")],
        ),
        (
            "generic_alert",
            {},
            [("slack", "generic_alert has no preference"), ("email", "generic_alert has no preference")],
        ),
    ],
)
def test_a_users_preferences_have_a_verdict_for_each_channel(store, event_type, changes, expected):
    store.write(lambda connection: (add_user(connection, **changes), add_user(connection, "bob@corp.example")))
    with store.reading() as connection:
        result = result_of(event(event_type), connection, user=ANA)
    assert [(item.channel, item.address or item.why) for item in result.preferences] == expected
    addresses = [item.address for item in result.preferences if item.notifies]
    assert [item.to for item in result.targets if item.user == ANA] == addresses
    assert not [item for item in result.targets if item.user == "bob@corp.example"]


def test_a_disabled_user_and_an_unknown_one_are_named(store):
    store.write(lambda connection: users.change_user(connection, add_user(connection).id, disabled=True))
    with store.reading() as connection:
        assert {item.why for item in result_of(event(), connection, user=ANA).preferences} == {"the user is disabled"}
        with pytest.raises(NotFound, match="nobody"):
            result_of(event(), connection, user="nobody@corp.example")


def test_a_test_lists_a_limited_number_of_users_and_says_so(store):
    def add_users(connection: Connection) -> None:
        for number in range(MAX_USER_TARGETS + 1):
            users.add_user(connection, f"u{number}@corp.example", "viewer", NOW)

    store.write(add_users)
    with store.reading() as connection:
        result = result_of(event(), connection)
    assert len([item for item in result.targets if item.user]) == MAX_USER_TARGETS
    assert result.notes == ["1 more targets of users are not listed"]
