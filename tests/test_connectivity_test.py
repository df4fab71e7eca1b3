"""Send one test message and report its result."""

from __future__ import annotations

import pytest

from alertctl.connectivity_test import send_test_message, wait_for_results
from alertctl.errors import InvalidEvent
from tests.support.deliveries import audience, dispatching, row, rows, settings_for


@pytest.fixture
def attempt_of(store, sandbox, database_url, clock):
    def send(channel, to=None, seconds=5.0, caller="dev", **settings):
        chosen = settings_for(sandbox, database_url, **settings)
        with dispatching(store, chosen, clock) as dispatcher:
            from alertctl.publish import audience_of

            return send_test_message(store, store, dispatcher, audience_of(chosen), channel, to, caller, clock, seconds)

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
    assert audience(sandbox, database_url).targets[0].address == "#platform-alerts"
