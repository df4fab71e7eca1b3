"""The targets of an event."""

from __future__ import annotations

import pytest

from alertctl.errors import InvalidEvent
from alertctl.events import BY_NAME, EVENT_TYPES, PREFERENCES
from alertctl.routing import Audience, Target, parse_target, route

BOTH = ("slack", "email")
DEFAULT_CHANNEL = Target("slack", "#platform-alerts", "default_channel")
ADMINS = tuple(Target("email", address, "admin_email") for address in ("ops@corp.example", "boss@corp.example"))
EVERYBODY = Audience((DEFAULT_CHANNEL, *ADMINS), frozenset(BOTH))


def slack_user(user_id: str, channel: str) -> Target:
    return Target("slack", channel, "user_channel", user_id)


def email_user(user_id: str, address: str) -> Target:
    return Target("email", address, "user_email", user_id)


def addresses(*args, **more) -> list[str]:
    return [target.address for target in route(*args, **more)]


def test_the_platforms_own_audience_comes_first_then_the_users():
    users = [slack_user("1", "#one"), email_user("1", "one@corp.example"), email_user("2", "two@corp.example")]
    chosen = [(target.address, target.routing_reason, target.user_id) for target in route(BOTH, EVERYBODY, users)]
    assert chosen == [
        ("#platform-alerts", "default_channel", None),
        ("ops@corp.example", "admin_email", None),
        ("boss@corp.example", "admin_email", None),
        ("#one", "user_channel", "1"),
        ("one@corp.example", "user_email", "1"),
        ("two@corp.example", "user_email", "2"),
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
    assert addresses(("slack",), EVERYBODY, users) == ["#platform-alerts", "#one"]


def test_a_named_target_may_use_a_channel_that_the_type_does_not():
    named = [Target("email", "a@corp.example", "named")]
    assert addresses(("slack",), EVERYBODY, [], named) == ["a@corp.example"]


@pytest.mark.parametrize(("only", "expected"), [("slack", ["#x"]), ("email", ["a@corp.example"])])
def test_only_narrows_named_targets_too(only, expected):
    named = [Target("slack", "#x", "named"), Target("email", "a@corp.example", "named")]
    assert addresses(BOTH, EVERYBODY, [], named, only) == expected


def test_the_first_of_equal_addresses_wins():
    users = [
        slack_user("1", "#PLATFORM-alerts"),
        email_user("1", "Ops@Corp.example"),
        email_user("2", "BOSS@corp.example"),
    ]
    assert addresses(BOTH, EVERYBODY, users) == ["#platform-alerts", "ops@corp.example", "boss@corp.example"]


def test_a_slack_channel_with_and_without_its_hash_is_one_target():
    users = [slack_user("u1", "Platform-Alerts"), slack_user("u2", "#team"), slack_user("u3", "team")]
    audience = Audience((DEFAULT_CHANNEL,), frozenset({"slack"}))
    assert [target.address for target in route(("slack",), audience, users)] == ["#platform-alerts", "#team"]


def test_the_same_text_on_two_channels_is_two_targets():
    named = [Target("slack", "x", "named"), Target("email", "x", "named")]
    assert addresses(BOTH, EVERYBODY, [], named) == ["x", "x"]


def test_a_channel_that_is_off_holds_its_targets_back():
    off = Audience((DEFAULT_CHANNEL, ADMINS[0]))
    assert [target.suppressed_reason for target in route(BOTH, off, [])] == ["slack_disabled", "email_disabled"]


@pytest.mark.parametrize(
    "text", ["slack:#x", "slack:general", "slack:C0123456789", "email:a@b", "email:o'hara+x@b.example"]
)
def test_a_target_is_a_channel_and_an_address(text):
    target = parse_target(text)
    assert f"{target.channel}:{target.address}" == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "slack", "slack:", "slack:a b", "slack:#", "Slack:#x", "email:", "email:a", "email:a@b@c", "sms:1"],
)
def test_an_invalid_target_is_refused_with_an_example(text):
    with pytest.raises(InvalidEvent, match=r"^to: .*(#|@)"):
        parse_target(text)
