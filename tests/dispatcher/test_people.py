"""Direct messages and mentions: people are found by email, and a failing look-up delays no other message."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alertctl import preferences, users
from alertctl.channels.base import MessageOptions
from alertctl.dispatcher.people import person
from alertctl.errors import InvalidEvent
from alertctl.outbox.tables import attempt
from alertctl.publish import publish
from alertctl.routing import RecipientPolicy, RoutingRules, Target
from alertctl.sandbox.slack import LOOKUP, channel_id, identifier
from tests.support.deliveries import announce, attempts, publication, row, rows, wall_clock
from tests.support.waiting import wait_until

ANA = "slack:@ana@corp.example"
ANA_ID = identifier("U", "ana@corp.example")
HOUR = 3600.0


def lookups(sandbox) -> int:
    return sum(call.path.endswith(LOOKUP) for call in sandbox.slack.calls)


def announce_with(store, options: MessageOptions, *, severity: str = "error", now, channel: str = "#ops") -> str:
    """Publish one event to a channel whose messages have these options. Returns its id."""
    rules = RoutingRules((Target("slack", channel, "default_channel", options=options),), frozenset({"slack"}))
    alert = publication("generic_alert", {"title": "Disk full", "severity": severity}, rules)
    return store.write(lambda connection: publish(connection, alert, now)).event_id


def mentioning(*names: str, **more: str) -> MessageOptions:
    return MessageOptions(mention=names, **more)


def test_a_direct_message_goes_to_the_id_of_the_person(store, sandbox, run, clock):
    announce(store, ANA, now=clock())
    assert run().success == 1
    (message,) = sandbox.slack.messages
    assert (message.channel, message.to) == (ANA_ID, "@ana@corp.example")
    sent = row(store)
    assert (sent.address, sent.status) == ("@ana@corp.example", "success")
    assert f'"channel": "{channel_id(ANA_ID)}"' in attempts(store, sent.id)[0].answer
    assert channel_id(ANA_ID).startswith("D")


def test_an_id_is_an_address_without_a_look_up(store, sandbox, run, clock):
    announce(store, "slack:U0123456789", now=clock())
    assert run().success == 1
    assert (sandbox.slack.messages[0].channel, lookups(sandbox)) == ("U0123456789", 0)


@pytest.mark.postgres
def test_an_email_is_looked_up_again_after_thirty_days(store, sandbox, run, clock):
    for seconds, expected in ((0, 1), (29 * 24 * HOUR, 1), (24 * HOUR, 2)):
        clock.advance(seconds)
        announce(store, ANA, now=clock())
        assert run().success == 1
        assert lookups(sandbox) == expected
    assert row(store, person).looked_up_at == clock()


def test_an_email_of_nobody_is_final_and_looked_up_again_after_ten_minutes(store, sandbox, run, clock):
    for seconds, expected in ((0, 1), (599, 1), (1, 2)):
        clock.advance(seconds)
        announce(store, "slack:@nobody@corp.example", now=clock())
        assert run().failed == 1
        assert lookups(sandbox) == expected
    assert {(entry.error, entry.reason, entry.next_attempt_at) for entry in rows(store)} == {
        ("users_not_found", "bad_address", None)
    }
    assert sandbox.slack.messages == []


@pytest.mark.parametrize("code", ["user_not_found", "channel_not_found"])
def test_a_person_with_a_new_id_is_found_within_the_attempt(store, sandbox, run, clock, code):
    announce(store, ANA, now=clock())
    run()
    sandbox.slack.faults.at(ANA_ID, f"slack:{code}")
    sandbox.slack.people["ana@corp.example"] = "U0NEW000000"
    announce(store, ANA, now=clock())
    assert run().success == 1
    assert [message.channel for message in sandbox.slack.messages] == [ANA_ID, "U0NEW000000"]
    assert lookups(sandbox) == 2
    assert row(store, person).provider_id == "U0NEW000000"


def test_a_person_with_the_same_id_is_not_sent_to_twice(store, sandbox, run, clock):
    announce(store, ANA, now=clock())
    run()
    sandbox.slack.faults.at(ANA_ID, "slack:user_not_found")
    event_id = announce(store, ANA, now=clock())
    assert run().failed == 1
    assert (row(store, event_id=event_id).error, lookups(sandbox), len(sandbox.slack.calls)) == ("user_not_found", 2, 4)


def test_a_person_who_has_left_is_forgotten(store, sandbox, run, clock):
    announce(store, ANA, now=clock())
    run()
    sandbox.slack.faults.at(ANA_ID, "slack:user_not_found")
    sandbox.slack.people["ana@corp.example"] = None
    event_id = announce(store, ANA, now=clock())
    assert run().failed == 1
    assert row(store, event_id=event_id).error == "users_not_found"
    assert row(store, person).provider_id is None


@pytest.mark.postgres
def test_a_missing_scope_delays_only_what_needs_it_until_it_is_added(store, sandbox, run, clock):
    sandbox.slack.scopes = ("chat:write",)
    for target in (ANA, "slack:#a", "slack:@bo@corp.example", "slack:#b"):
        announce(store, target, now=clock())
    counts = run()
    assert (counts.success, counts.retrying) == (2, 2)
    waiting = rows(store, status="failed")
    assert {(entry.error, entry.reason, entry.schedule_step) for entry in waiting} == {("missing_scope", "config", 0)}
    assert all(timedelta(0) < entry.next_attempt_at - clock() <= timedelta(seconds=1.2) for entry in waiting)
    assert '"needed":"users:read.email"' in attempts(store, waiting[0].id)[0].answer.replace(" ", "")

    sandbox.slack.scopes = ("chat:write", "users:read.email")
    clock.advance(2)
    assert run().success == 2


def test_a_missing_scope_is_no_cause_to_give_up_before_the_maximum_age(store, sandbox, run, clock):
    sandbox.slack.scopes = ("chat:write",)
    announce(store, ANA, now=clock())
    for _ in range(10):
        assert run(RETRY_SCHEDULE="1s 10s", ALERTCTL_MAX_AGE="2h").retrying == 1
        clock.advance(12)
    clock.advance(2 * HOUR)
    assert run(RETRY_SCHEDULE="1s 10s", ALERTCTL_MAX_AGE="2h").failed == 1
    assert (row(store).error, row(store).reason) == ("missing_scope", "expired")


def test_a_look_up_that_refuses_the_token_opens_the_circuit_breaker(store, sandbox, run, clock):
    sandbox.slack.faults.at(LOOKUP, "slack:invalid_auth")
    announce(store, *(f"slack:@user-{number}@corp.example" for number in range(20)), now=clock())
    run()
    assert lookups(sandbox) <= 3
    assert all(entry.next_attempt_at is not None for entry in rows(store))


@pytest.mark.parametrize(
    ("fault", "reason", "code"),
    [
        ("close_after_request", "unavailable", "no_reply"),
        ("http_503", "unavailable", "http_503"),
        ("slack:fatal_error", "unavailable", "fatal_error"),
        ("html_200", "unavailable", "bad_reply"),
        ('reply:{"ok":true,"user":{"id":"<!channel>"}}', "unavailable", "bad_reply"),
    ],
)
def test_a_failed_look_up_of_a_recipient_is_retried_and_never_ambiguous(
    store, sandbox, run, clock, fault, reason, code
):
    sandbox.slack.faults.at(LOOKUP, fault)
    announce(store, ANA, now=clock())
    assert run().retrying == 1
    failed = row(store)
    assert (failed.reason, failed.error, failed.ambiguous, failed.schedule_step) == (reason, code, False, 1)
    sandbox.slack.faults.clear()
    clock.advance(2)
    assert run().success == 1


def test_a_rate_limit_on_look_ups_pauses_look_ups_only(store, sandbox, daemon):
    sandbox.slack.faults.at(LOOKUP, "429:30")
    with daemon() as dispatcher:
        first = announce(store, ANA, now=wall_clock())
        dispatcher.wake()
        wait_until(lambda: row(store, event_id=first).status == "failed")
        second = announce(store, "slack:@bo@corp.example", now=wall_clock())
        announce(store, "slack:#a", now=wall_clock())
        mention = announce_with(store, mentioning("cy@corp.example"), now=wall_clock())
        dispatcher.wake()
        wait_until(lambda: row(store, event_id=second).status == "failed")
        wait_until(lambda: sorted(message.channel for message in sandbox.slack.messages) == ["#a", "#ops"])
        wait_until(lambda: row(store, event_id=mention).status == "success")
    assert lookups(sandbox) == 1
    for event_id in (first, second):
        waiting = row(store, event_id=event_id)
        assert (waiting.reason, waiting.schedule_step) == ("rate_limited", 0)
        assert waiting.next_attempt_at > wall_clock() + timedelta(seconds=10)


def test_mentions_are_people_by_email_and_groups_and_users_by_id(store, sandbox, run, clock):
    options = mentioning("ana@corp.example", "S0123456789", "U0123456789", "nobody@corp.example")
    event_id = announce_with(store, options, now=clock())
    assert run().success == 1
    (message,) = sandbox.slack.messages
    assert message.text.endswith(f"\n<@{ANA_ID}> <!subteam^S0123456789> <@U0123456789> nobody@corp.example")
    (section,) = message.blocks[-2]["elements"]
    assert [element for element in section["elements"] if element.get("text") != " "] == [
        {"type": "user", "user_id": ANA_ID},
        {"type": "usergroup", "usergroup_id": "S0123456789"},
        {"type": "user", "user_id": "U0123456789"},
        {"type": "text", "text": "nobody@corp.example"},
    ]
    assert message.blocks[-1]["type"] == "context"
    (only,) = attempts(store, row(store, event_id=event_id).id)
    assert only.note == "could not look up nobody@corp.example: users_not_found"
    announce_with(store, options, now=clock())
    assert run().success == 1
    assert lookups(sandbox) == 2, "people and misses are remembered"


def test_a_compact_message_ends_with_its_mentions(store, sandbox, run, clock):
    announce_with(store, mentioning("ana@corp.example", style="compact"), now=clock())
    assert run().success == 1
    (section,) = sandbox.slack.messages[0].blocks[-1]["elements"]
    assert section["elements"] == [{"type": "user", "user_id": ANA_ID}]


@pytest.mark.parametrize(
    ("severity", "mention_from", "mentioned"),
    [
        ("info", "warning", False),
        ("warning", "warning", True),
        ("critical", "warning", True),
        ("info", "info", True),
        ("error", "critical", False),
    ],
)
def test_people_are_mentioned_from_a_severity_up(store, sandbox, run, clock, severity, mention_from, mentioned):
    announce_with(store, mentioning("ana@corp.example", mention_from=mention_from), severity=severity, now=clock())
    assert run().success == 1
    assert (ANA_ID in sandbox.slack.messages[0].text, lookups(sandbox)) == (mentioned, int(mentioned))


def test_a_look_up_that_hangs_becomes_plain_text_and_delays_no_other_message(store, sandbox, daemon):
    sandbox.slack.faults.at(LOOKUP, "stall")
    with daemon() as dispatcher:
        announce(store, "slack:#warm-up", now=wall_clock())
        dispatcher.wake()
        sandbox.slack.wait_for(1)
        slow = announce_with(store, mentioning("ana@corp.example", "bo@corp.example"), now=wall_clock())
        announce(store, "slack:#a", "slack:#b", "slack:#c", now=wall_clock())
        dispatcher.wake()
        sandbox.slack.wait_for(5)
        later = announce_with(store, mentioning("ana@corp.example"), now=wall_clock(), channel="#later")
        dispatcher.wake()
        sandbox.slack.wait_for(6)
        wait_until(lambda: {entry.status for entry in rows(store)} == {"success"})
    assert [message.channel for message in sandbox.slack.messages][4:] == ["#ops", "#later"]
    assert "ana@corp.example bo@corp.example" in sandbox.slack.messages[4].text
    assert lookups(sandbox) == 1
    (first,), (second,) = (attempts(store, row(store, event_id=event_id).id) for event_id in (slow, later))
    assert first.note == (
        "could not look up ana@corp.example: timeout\n"
        "could not look up bo@corp.example: not tried, because an earlier look-up failed or took too long"
    )
    assert "not tried" in second.note
    # The channel's deadline is 20 s.
    assert first.duration_ms < 8000


def test_recipients_who_cannot_be_looked_up_keep_no_other_message_waiting(store, sandbox, daemon):
    sandbox.slack.faults.at(LOOKUP, "stall")
    with daemon(ALERTCTL_DEADLINE="2s", ALERTCTL_SENDERS="2") as dispatcher:
        people = [announce(store, f"slack:@u{number}@corp.example", now=wall_clock()) for number in range(12)]
        announce(store, *(f"slack:#c{number}" for number in range(4)), now=wall_clock())
        dispatcher.wake()
        sandbox.slack.wait_for(4)
        wait_until(lambda: all(row(store, event_id=event_id).attempts for event_id in people))
    assert lookups(sandbox) <= 3
    waiting = [row(store, event_id=event_id) for event_id in people]
    paused = [entry for entry in waiting if entry.error == "lookup_paused"]
    assert len(paused) >= 9
    assert {(entry.reason, entry.schedule_step, entry.next_attempt_at is None) for entry in paused} == {
        ("local", 0, False)
    }


def test_a_mention_without_the_scope_becomes_plain_text(store, sandbox, run, clock):
    sandbox.slack.scopes = ("chat:write",)
    announce_with(store, mentioning("ana@corp.example"), now=clock())
    assert run().success == 1
    assert rows(store, attempt)[0].note == "could not look up ana@corp.example: missing_scope"


def test_an_email_mentions_nobody(store, sandbox, run, clock):
    target = Target("email", "ops@corp.example", "admin_email", options=mentioning("ana@corp.example"))
    alert = publication("safety_rollback", {"feature_flag": "x"}, RoutingRules((target,), frozenset({"email"})))
    store.write(lambda connection: publish(connection, alert, clock()))
    assert run().success == 1
    assert lookups(sandbox) == 0


def test_text_of_an_event_mentions_nobody(store, sandbox, run, clock):
    hostile = f"<@{ANA_ID}> <!channel> <!subteam^S0123456789> @ana"
    alert = publication("generic_alert", {"title": hostile, "message": hostile}, to=("slack:#a",))
    store.write(lambda connection: publish(connection, alert, clock()))
    assert run().success == 1
    (message,) = sandbox.slack.messages
    assert "<@" not in str(message.payload)
    assert "<!channel" not in str(message.payload)
    assert "<!subteam" not in str(message.payload)


def test_me_is_a_direct_message_to_the_registered_email(store, sandbox, run, clock):
    user = store.write(lambda it: users.add_user(it, "Ana@corp.example", "viewer", clock())).id
    store.write(lambda it: preferences.update(it, user, {"slack_channel": "@me", "email_enabled": False}, clock()))
    with store.reading() as connection:
        (target,) = preferences.recipients(connection, "safety_rollback")
    assert (target.channel, target.address, target.user_id) == ("slack", "@ana@corp.example", user)
    announce(store, f"slack:{target.address}", now=clock())
    assert run().success == 1
    assert sandbox.slack.messages[0].channel == ANA_ID


def test_me_needs_a_registered_email(store, clock):
    identity = users.Identity("https://issuer.example", "subject-1")
    user = store.write(lambda it: users.ensure_user(it, identity, None, clock()))[0].id
    with pytest.raises(InvalidEvent, match=r"^slack_channel: @me needs a registered email address, .* none"):
        store.write(lambda it: preferences.update(it, user, {"slack_channel": "@me"}, clock()))


def test_me_is_no_email_address(store, clock):
    user = store.write(lambda it: users.add_user(it, "ana@corp.example", "viewer", clock())).id
    with pytest.raises(InvalidEvent, match=r"^email_address: "):
        store.write(lambda it: preferences.update(it, user, {"email_address": "@me"}, clock()))


@pytest.mark.parametrize(
    ("globs", "allowed"),
    [
        ({}, True),
        ({"slack": ("team-*",)}, False),
        ({"slack": ("team-*", "@*@corp.example")}, True),
        ({"email": ("corp.example",)}, True),
        ({"email": ("other.example",)}, False),
        ({"slack": ("@*",), "email": ("other.example",)}, False),
    ],
)
def test_a_person_must_be_allowed_on_slack_and_by_email_domain(store, clock, globs, allowed):
    policy = RecipientPolicy(globs)
    assert policy.allows("slack", "@ana@corp.example") is allowed
    user = store.write(lambda it: users.add_user(it, "ana@corp.example", "viewer", clock())).id
    changes = {"slack_channel": "@me"}
    if allowed:
        assert store.write(lambda it: preferences.update(it, user, changes, clock(), policy))["slack_channel"] == "@me"
        return
    with pytest.raises(InvalidEvent, match=r"'@ana@corp\.example' is not an allowed recipient"):
        store.write(lambda it: preferences.update(it, user, changes, clock(), policy))
