"""Send one test message and report its result."""

from __future__ import annotations

import pytest

from alertctl.connectivity_test import send_test_message, wait_for_results
from alertctl.errors import InvalidEvent
from tests.support.deliveries import dispatching, row, rows, rules_for, settings_for


@pytest.fixture
def attempt_of(store, sandbox, database_url, clock):
    def send(channel, to=None, seconds=5.0, caller="dev", all_defaults=False, **settings):
        chosen = settings_for(sandbox, database_url, **settings)
        with dispatching(store, chosen, clock) as dispatcher:
            from alertctl.routing import routing_rules_of

            fixed = (store, store, dispatcher, routing_rules_of(chosen))
            return send_test_message(*fixed, channel, to, caller, clock, seconds, all_defaults=all_defaults)

    return send


@pytest.mark.parametrize(("channel", "reached"), [("slack", "#platform-alerts"), ("email", "admin@corp.example")])
def test_a_test_goes_to_the_default_address_and_names_it(store, sandbox, attempt_of, channel, reached):
    result = attempt_of(channel)
    assert (result.success, result.message) == (True, f"Test notification sent to {reached}")
    assert (row(store).id, row(store).address) == (result.delivery_id, reached)
    assert len(sandbox.slack.messages) + len(sandbox.smtp.messages) == 1


def test_a_test_goes_to_the_named_address_and_nowhere_else(store, attempt_of):
    assert attempt_of("slack", "#mine").success
    assert [item.address for item in rows(store)] == ["#mine"]


@pytest.mark.parametrize(
    ("admins", "reached"), [("", "ana@corp.example"), ("a@corp.example,b@corp.example", "a@corp.example")]
)
def test_a_test_email_reaches_its_caller_if_there_is_no_admin_and_never_all_admins(store, attempt_of, admins, reached):
    assert attempt_of("email", caller="ana@corp.example", NOTIFICATION_ADMIN_EMAILS=admins).success
    assert [item.address for item in rows(store)] == [reached]


@pytest.mark.parametrize("refused", [False, True])
def test_a_test_email_reaches_all_admins_on_request_and_names_each_result(store, sandbox, attempt_of, refused):
    admins = f"a@corp.example,{'missing' if refused else 'b'}@corp.example"
    result = attempt_of("email", all_defaults=True, NOTIFICATION_ADMIN_EMAILS=admins)
    assert [item.address for item in rows(store)] == admins.split(",")
    assert result.success is not refused
    assert "Test notification sent to a@corp.example; " in result.message
    assert ("Not delivered to missing@corp.example: 550" in result.message) is refused
    assert result.error == ("550" if refused else None)


def test_a_test_to_an_address_and_to_all_is_refused(store, attempt_of):
    with pytest.raises(InvalidEvent) as caught:
        attempt_of("email", "dev@corp.example", all_defaults=True)
    assert (caught.value.field, rows(store)) == ("all", [])


def test_a_refusal_is_reported_with_the_providers_own_reason(attempt_of):
    result = attempt_of("slack", "#missing")
    assert (result.success, result.error) == (False, "channel_not_found")
    assert "#missing" in result.message
    assert "channel_not_found" in result.message


def test_an_unavailable_provider_is_reported_without_waiting_for_the_retry(sandbox, attempt_of):
    sandbox.slack.faults.always("http_503")
    result = attempt_of("slack", seconds=1.0)
    assert not result.success
    assert "503" in result.message or result.error == "service_unavailable"


def test_a_channel_that_is_off_names_the_variable(attempt_of):
    result = attempt_of("slack", SLACK_ENABLED="false")
    assert not result.success
    assert "SLACK_ENABLED" in result.message


@pytest.mark.parametrize(
    ("channel", "to", "settings", "field"),
    [
        ("sms", None, {}, "channel"),
        ("email", None, {"NOTIFICATION_ADMIN_EMAILS": ""}, "to"),
        ("email", "nobody", {}, None),
        ("slack", "#a b", {}, None),
    ],
)
def test_a_test_without_a_usable_target_is_refused(store, attempt_of, channel, to, settings, field):
    with pytest.raises(InvalidEvent) as caught:
        attempt_of(channel, to, **settings)
    assert field in (None, caught.value.field)
    assert rows(store) == []


def test_waiting_for_a_result_ends_at_the_timeout(store, sandbox, database_url, clock):
    from tests.support.deliveries import announce

    event_id = announce(store, "slack:#a", now=clock())
    assert [item.status for item in wait_for_results(store, event_id, 0.1)] == ["pending"]
    assert [item.status for item in wait_for_results(store, event_id, 60, only_sending=True)] == ["pending"]
    assert rules_for(sandbox, database_url).targets[0].address == "#platform-alerts"
