"""The targets of an event: the platform's audience, routes, labels, users, and the targets that a caller names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable

import pytest

from alertctl.events import BY_NAME, EVENT_TYPES, PREFERENCES
from alertctl.publish import Publication, prepare
from alertctl.routing import Audience, Outcome, RecipientPolicy, Target, decide, parse_routes
from alertctl.schemas import PublishRequest

BOTH = frozenset({"slack", "email"})
DEFAULT_CHANNEL = Target("slack", "#platform-alerts", "default_channel")
ADMINS = tuple(Target("email", address, "admin_email") for address in ("ops@corp.example", "boss@corp.example"))
EVERYBODY = Audience((DEFAULT_CHANNEL, *ADMINS), BOTH)
ROLLBACK = {"feature_flag": "checkout-v3", "environment": "production"}


def slack_user(user_id: str, channel: str) -> Target:
    return Target("slack", channel, "user_channel", user_id)


def email_user(user_id: str, address: str) -> Target:
    return Target("email", address, "user_email", user_id)


def audience(toml: str, **more: object) -> Audience:
    """Return the usual audience with these routes."""
    routes = parse_routes(tomllib.loads(toml)["routes"])
    return Audience(EVERYBODY.targets, **({"enabled": BOTH, "routes": routes} | more))


def rollback(rules: Audience = EVERYBODY, event_type: str = "safety_rollback", **request: object) -> Publication:
    return prepare(PublishRequest(event_type=event_type, **({"fields": ROLLBACK} | request)), rules)


def addresses(publication: Publication, users: Iterable[Target] = ()) -> list[str]:
    """Return the addresses, those of suppressed deliveries with the cause."""
    return [
        target.address if target.suppressed_reason is None else f"{target.address} ({target.suppressed_reason})"
        for target, *_ in decide(publication, publication.audience, users)
    ]


def test_the_platforms_own_audience_comes_first_then_the_users():
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
    off = Audience((DEFAULT_CHANNEL, ADMINS[0]))
    decisions = list(decide(rollback(off), off, []))
    assert [(item.outcome, item.reason) for item in decisions] == [
        (Outcome.SUPPRESS, "slack_disabled"),
        (Outcome.SUPPRESS, "email_disabled"),
    ]


def test_users_that_the_policy_does_not_allow_are_suppressed():
    rules = Audience((DEFAULT_CHANNEL,), BOTH, RecipientPolicy({"email": ("corp.example",)}))
    users = [email_user("1", "a@corp.example"), email_user("2", "b@elsewhere.example")]
    suppressed = "b@elsewhere.example (recipient_not_allowed)"
    assert addresses(rollback(rules), users) == ["#platform-alerts", "a@corp.example", suppressed]
