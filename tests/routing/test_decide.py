"""The targets of an event: the default targets, routes, labels, users, and the targets that a caller names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import MessageOptions
from alertctl.events import BY_NAME, EVENT_TYPES, PREFERENCES
from alertctl.matching import values_of
from alertctl.publish import Publication, prepare
from alertctl.routing import Outcome, RecipientPolicy, RoutingRules, Target, Verdict, decide, explain, parse_routes
from alertctl.schemas import PublishRequest

BOTH = frozenset({"slack", "email"})
DEFAULT_CHANNEL = Target("slack", "#platform-alerts", "default_channel")
ADMINS = tuple(Target("email", address, "admin_email") for address in ("ops@corp.example", "boss@corp.example"))
EVERYBODY = RoutingRules((DEFAULT_CHANNEL, *ADMINS), BOTH)
ROLLBACK = {"feature_flag": "checkout-v3", "environment": "production"}


def slack_user(user_id: str, channel: str) -> Target:
    return Target("slack", channel, "user_channel", user_id)


def email_user(user_id: str, address: str) -> Target:
    return Target("email", address, "user_email", user_id)


def rules_with(toml: str, **more: object) -> RoutingRules:
    """Return the usual rules with these routes."""
    routes = parse_routes(tomllib.loads(toml)["routes"])
    return RoutingRules(EVERYBODY.targets, **({"enabled": BOTH, "routes": routes} | more))


def rollback(rules: RoutingRules = EVERYBODY, event_type: str = "safety_rollback", **request: object) -> Publication:
    return prepare(PublishRequest(event_type=event_type, **({"fields": ROLLBACK} | request)), rules)


def addresses(publication: Publication, users: Iterable[Target] = ()) -> list[str]:
    """Return the addresses, those of suppressed deliveries with the cause."""
    return [
        target.address if target.suppressed_reason is None else f"{target.address} ({target.suppressed_reason})"
        for target, *_ in decide(publication, publication.rules, users)
    ]


def test_the_default_targets_come_first_then_the_users():
    users = [slack_user("1", "#one"), email_user("1", "one@corp.example"), email_user("2", "two@corp.example")]
    chosen = [(item.target.address, item.reason, item.source) for item in decide(rollback(), EVERYBODY, users)]
    assert chosen == [
        ("#platform-alerts", "default_channel", "SLACK_DEFAULT_CHANNEL"),
        ("ops@corp.example", "admin_email", "NOTIFICATION_ADMIN_EMAILS"),
        ("boss@corp.example", "admin_email", "NOTIFICATION_ADMIN_EMAILS"),
        ("#one", "user_channel", "preferences"),
        ("one@corp.example", "user_email", "preferences"),
        ("two@corp.example", "user_email", "preferences"),
    ]


@pytest.mark.parametrize(
    ("kind", "channels", "by_default"),
    [
        ("safety_rollback", None, True),
        ("experiment_lifecycle", None, True),
        ("rollout_advance", ("slack",), False),
        ("generic_alert", None, None),
    ],
)
def test_each_event_type_goes_where_the_design_says(kind, channels, by_default):
    assert (BY_NAME[kind].channels, BY_NAME[kind].default_on) == (channels, by_default)
    assert PREFERENCES.get(kind) is by_default


def test_the_registry_is_what_was_just_checked():
    assert len(EVENT_TYPES) == len(BY_NAME) == 4


def test_a_slack_only_event_is_not_sent_by_email():
    users = [slack_user("1", "#one"), email_user("1", "one@corp.example")]
    assert addresses(rollback(event_type="rollout_advance"), users) == ["#platform-alerts", "#one"]


def test_a_named_target_may_use_a_channel_that_the_type_does_not():
    event = rollback(event_type="rollout_advance", to=["email:a@corp.example"])
    assert addresses(event) == ["a@corp.example"]


@pytest.mark.parametrize(("only", "expected"), [("slack", ["#x"]), ("email", ["a@corp.example"])])
def test_only_narrows_named_targets_too(only, expected):
    assert addresses(rollback(to=["slack:#x", "email:a@corp.example"], channel=only)) == expected


def test_the_first_of_equal_addresses_wins():
    users = [
        slack_user("1", "#PLATFORM-alerts"),
        email_user("1", "Ops@Corp.example"),
        email_user("2", "BOSS@corp.example"),
    ]
    assert addresses(rollback(), users) == ["#platform-alerts", "ops@corp.example", "boss@corp.example"]


def test_a_slack_channel_with_and_without_its_hash_is_one_target():
    users = [slack_user("u1", "Platform-Alerts"), slack_user("u2", "#team"), slack_user("u3", "team")]
    assert addresses(rollback(channel="slack"), users) == ["#platform-alerts", "#team"]


def test_a_channel_that_is_off_suppresses_its_targets():
    off = RoutingRules((DEFAULT_CHANNEL, ADMINS[0]))
    decisions = list(decide(rollback(off), off, []))
    assert [(item.outcome, item.reason) for item in decisions] == [
        (Outcome.SUPPRESS, "slack_disabled"),
        (Outcome.SUPPRESS, "email_disabled"),
    ]


def test_users_that_the_policy_does_not_allow_are_suppressed():
    rules = RoutingRules((DEFAULT_CHANNEL,), BOTH, RecipientPolicy({"email": ("corp.example",)}))
    users = [email_user("1", "a@corp.example"), email_user("2", "b@elsewhere.example")]
    suppressed = "b@elsewhere.example (recipient_not_allowed)"
    assert addresses(rollback(rules), users) == ["#platform-alerts", "a@corp.example", suppressed]


PAYMENTS = """
[[routes]]
name = "payments"
match = { feature_flag = "checkout-*" }
to = ["slack:#pay", "email:pay@corp.example"]
"""
QUIET = '[[routes]]\nname = "quiet"\nmatch.environment = "production"\nto = []\n'
REST = '[[routes]]\nname = "rest"\nto = ["#rest"]\n'


def test_a_route_replaces_the_default_targets_and_preferences_apply_besides():
    users = [slack_user("1", "#one")]
    rules = rules_with(PAYMENTS)
    assert addresses(rollback(rules), users) == ["#pay", "pay@corp.example", "#one"]
    other = rollback(rules, fields={"feature_flag": "login"})
    assert addresses(other, users) == ["#platform-alerts", "ops@corp.example", "boss@corp.example", "#one"]


def test_named_targets_replace_routes_and_labels():
    assert addresses(rollback(rules_with(PAYMENTS), to=["#x"], labels={"slack": "#label"})) == ["#x"]


def test_the_first_matching_route_counts_unless_it_continues():
    assert addresses(rollback(rules_with(PAYMENTS + REST))) == ["#pay", "pay@corp.example"]
    both = rules_with(PAYMENTS + "continue = true\n" + REST)
    assert addresses(rollback(both)) == [
        "#pay",
        "pay@corp.example",
        "#rest",
    ]
    assert addresses(rollback(both, fields={})) == ["#rest"]


def test_default_adds_the_default_targets_of_the_type():
    rules = rules_with(PAYMENTS.replace("to = [", 'to = ["default", '))
    everybody = ["#pay", "pay@corp.example", "#platform-alerts", "ops@corp.example", "boss@corp.example"]
    assert addresses(rollback(rules)) == everybody
    assert addresses(rollback(rules, event_type="rollout_advance")) == everybody[:3]


def test_the_audience_that_a_route_adds_has_the_form_of_the_route():
    own = Target("slack", "#platform-alerts", "default_channel", options=MessageOptions("compact", ("S0001",)))
    routes = parse_routes(tomllib.loads('[[routes]]\nname="a"\nto="default"\nmention = ["S0002"]')["routes"])
    rules = RoutingRules((own,), BOTH, routes=routes)
    (item,) = decide(rollback(rules), rules, [])
    assert (item.target.options, item.target.route) == (MessageOptions("compact", ("S0002",)), "a")
    assert (item.reason, item.source) == ("route", "route a")


def test_an_email_address_of_a_route_gets_a_rollout_that_goes_to_slack_only():
    event = rollback(rules_with(PAYMENTS), event_type="rollout_advance")
    assert addresses(event, [email_user("1", "one@corp.example")]) == ["#pay", "pay@corp.example"]


def test_an_empty_route_records_the_audience_as_suppressed_and_users_still_get_the_event():
    quiet = "(route quiet)"
    assert addresses(rollback(rules_with(QUIET)), [slack_user("1", "#one")]) == [
        "#one",
        f"#platform-alerts {quiet}",
        f"ops@corp.example {quiet}",
        f"boss@corp.example {quiet}",
    ]
    decision = next(decide(rollback(rules_with(QUIET)), rules_with(QUIET), []))
    assert (decision.outcome, decision.source) == (Outcome.SUPPRESS, "route quiet")


def test_an_empty_route_does_not_suppress_what_another_route_a_label_or_a_user_selects():
    rules = rules_with(QUIET + 'continue = true\n[[routes]]\nname = "more"\nto = "email:OPS@corp.example"\n')
    event = rollback(rules, labels={"slack": "platform-alerts"})
    assert addresses(event, [email_user("1", "boss@corp.example")]) == [
        "OPS@corp.example",
        "platform-alerts",
        "boss@corp.example",
    ]
    with_default = rules_with(QUIET + 'continue = true\n[[routes]]\nname = "more"\nto = "default"\n')
    assert addresses(rollback(with_default)) == ["#platform-alerts", "ops@corp.example", "boss@corp.example"]


def test_an_empty_route_suppresses_on_the_channels_of_the_type_only():
    event = rollback(rules_with(QUIET), event_type="rollout_advance")
    assert addresses(event) == ["#platform-alerts (route quiet)"]


def test_a_label_adds_a_target_to_those_of_routes_or_of_the_audience():
    labels = {"slack": "#team", "email": "team@corp.example"}
    added = ["#team", "team@corp.example"]
    assert addresses(rollback(labels=labels))[-2:] == added
    assert addresses(rollback(rules_with(PAYMENTS), labels=labels)) == ["#pay", "pay@corp.example", *added]
    chosen = list(decide(rollback(labels=labels), EVERYBODY, []))[-2:]
    assert [(item.reason, item.source) for item in chosen] == [("label", "label slack"), ("label", "label email")]


def test_a_label_names_an_allowed_target_or_its_target_is_suppressed():
    policy = RecipientPolicy({"slack": ("team-*",)})
    rules = rules_with(PAYMENTS, policy=policy)
    assert addresses(rollback(rules, labels={"slack": "#team-a"}), [])[-1] == "#team-a"
    assert addresses(rollback(rules, labels={"slack": "#x"}), [])[-1] == "#x (recipient_not_allowed)"
    own = rollback(rules, labels={"slack": "#platform-alerts"})
    assert addresses(own)[-1] == "#platform-alerts", "the platform's own channel is always allowed"


def test_an_unusable_label_is_a_warning_and_adds_nothing():
    event = rollback(labels={"slack": "two words", "email": "nobody"})
    assert addresses(event) == addresses(rollback())
    assert [warning.partition(":")[0] for warning in event.warnings if "label" in warning] == [
        "label slack",
        "label email",
    ]


def test_the_targets_of_a_route_need_no_policy():
    rules = rules_with(PAYMENTS, policy=RecipientPolicy({"slack": ("x",), "email": ("x.example",)}))
    assert addresses(rollback(rules)) == ["#pay", "pay@corp.example"]


def test_one_channel_only_narrows_routes_labels_and_suppression():
    assert addresses(rollback(rules_with(PAYMENTS), channel="email")) == ["pay@corp.example"]
    quiet = rollback(rules_with(QUIET), channel="slack", labels={"email": "a@corp.example"})
    assert addresses(quiet) == ["#platform-alerts (route quiet)"]


def test_a_target_of_two_routes_has_the_form_of_the_first():
    rules = rules_with(PAYMENTS + 'style = "compact"\ncontinue = true\n[[routes]]\nname = "b"\nto = ["#pay", "#b"]\n')
    chosen = {item.target.address: item.target for item in decide(rollback(rules), rules, [])}
    assert (chosen["#pay"].route, chosen["#pay"].options.style) == ("payments", "compact")
    assert (chosen["#b"].route, chosen["#b"].options.style) == ("b", "full")


def test_the_form_of_a_channels_messages_counts_where_no_route_sets_one():
    compact = {"slack": MessageOptions("compact")}
    rules = RoutingRules((DEFAULT_CHANNEL,), BOTH, options=compact)
    event = rollback(rules, labels={"slack": "#label"})
    styles = [item.target.options.style for item in decide(event, rules, [slack_user("1", "#a"), *ADMINS])]
    assert styles == ["full", "compact", "compact", "full", "full"]
    named = rollback(rules, to=["#x", "a@corp.example"])
    assert [item.target.options.style for item in decide(named, rules, [])] == ["compact", "full"]


@pytest.mark.parametrize(
    ("mistake", "production", "staging"),
    [
        ('to = ["nobody"]', ["#platform-alerts"], []),
        ('to = ["#x"]\nmatch.enviroment = "x"', ["#platform-alerts"], []),
        ('to = ["#x"]\nmatch.severity = "high"', ["#platform-alerts"], []),
    ],
)
def test_a_route_with_a_mistake_sends_its_events_to_the_audience_and_tries_the_next_route(mistake, production, staging):
    rules = rules_with(f'[[routes]]\nname = "a"\nmatch.environment = "production"\n{mistake}\n{REST}')
    assert addresses(rollback(rules, channel="slack")) == [*production, "#rest"]
    other = rollback(rules, channel="slack", fields={"environment": "staging"})
    assert addresses(other) == [*staging, "#rest"]


def test_a_route_whose_whole_match_is_wrong_adds_the_audience_to_every_event():
    rules = rules_with(f'[[routes]]\nname = "a"\nmatch = 1\nto = []\n{QUIET}')
    assert addresses(rollback(rules)) == ["#platform-alerts", "ops@corp.example", "boss@corp.example"]


def test_each_route_has_a_verdict_with_the_condition_that_does_not_hold():
    rules = rules_with(
        '[[routes]]\nname = "login"\nmatch = { environment = "production", feature_flag = "login" }\nto = []\n'
        + QUIET.replace("to", "continue = true\nto")
        + REST
        + PAYMENTS
    )
    verdicts = [
        (item.route.name, item.verdict, item.mismatch and item.mismatch.key) for item in explain(rollback(rules), rules)
    ]
    assert verdicts == [
        ("login", Verdict.NOT_MATCHED, "feature_flag"),
        ("quiet", Verdict.MATCHED, None),
        ("rest", Verdict.MATCHED, None),
        ("payments", Verdict.NOT_REACHED, None),
    ]
    named = explain(rollback(rules, to=["#x"]), rules)
    assert {item.verdict for item in named} == {Verdict.NOT_REACHED}


def test_users_are_read_one_by_one():
    read: list[int] = []

    def users() -> Iterator[Target]:
        for number in range(100_000):
            read.append(number)
            yield email_user(str(number), f"user{number}@corp.example")

    decisions = decide(rollback(rules_with(PAYMENTS)), rules_with(PAYMENTS), users())
    chosen = [next(decisions).target.address for _ in range(3)]
    assert chosen == ["#pay", "pay@corp.example", "user0@corp.example"]
    assert len(read) == 1


_ADDRESSES = [
    "slack:#a",
    "slack:A",
    "email:a@corp.example",
    "email:A@corp.example",
    "default",
    "slack:#platform-alerts",
]
_TEXT = st.sampled_from(["production", "staging", "checkout-v3", "*", "x"])
_ROUTE = st.fixed_dictionaries(
    {"to": st.lists(st.sampled_from(_ADDRESSES), max_size=3) | st.just(1), "continue": st.booleans()},
    optional={
        "match": st.dictionaries(st.sampled_from(["environment", "feature_flag", "labels.team", "wrong"]), _TEXT),
        "style": st.sampled_from(["compact", "wrong"]),
    },
)
_USERS = st.lists(
    st.sampled_from([slack_user("1", "a"), email_user("1", "a@corp.example"), email_user("2", "x@x.example")]),
    max_size=4,
)


@given(
    st.lists(_ROUTE, max_size=4),
    st.sampled_from(["safety_rollback", "rollout_advance"]),
    st.fixed_dictionaries({}, optional={"environment": _TEXT, "feature_flag": _TEXT}),
    st.dictionaries(st.sampled_from(["team", "slack", "email"]), st.text(max_size=9) | st.just("#a")),
    _USERS,
    st.frozensets(st.sampled_from(["slack", "email"])),
)
def test_every_decision_has_a_reason_and_every_target_is_decided_once(
    tables, event_type, fields, labels, users, enabled
):
    routes = parse_routes([{"name": f"r{number}"} | table for number, table in enumerate(tables)])
    rules = RoutingRules(EVERYBODY.targets, enabled, RecipientPolicy({"email": ("corp.example",)}), routes)
    event = rollback(rules, event_type=event_type, fields=fields, labels=labels)
    decisions = list(decide(event, rules, users))
    identities = [item.target.identity for item in decisions]
    assert len(set(identities)) == len(identities)
    assert all(item.reason and item.source for item in decisions)
    assert all((item.outcome is Outcome.SUPPRESS) == bool(item.target.suppressed_reason) for item in decisions)
    assert decisions, "an event never has nobody without a record"
    assert [item.verdict for item in explain(event, rules)].count(Verdict.MATCHED) == len(
        rules.routes.matching(values_of(event.fields, event.labels))
    )
    users_of = {item.target.identity for item in decisions}
    wanted = {user.identity for user in users if BY_NAME[event_type].channels in (None, (user.channel,))}
    assert wanted <= users_of
