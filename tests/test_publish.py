"""Publishing writes an event and its deliveries once, however often it is called."""

from __future__ import annotations

import threading
import tomllib
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import insert

from alertctl.channels.base import MessageOptions
from alertctl.db import Writer
from alertctl.errors import Conflict, InvalidEvent
from alertctl.events import restore
from alertctl.ids import new_id
from alertctl.outbox.tables import TABLES
from alertctl.publish import decisions_of, prepare, publish, publish_many
from alertctl.routing import RecipientPolicy, parse_routes
from alertctl.schemas import PublishRequest
from tests.support.cases import each
from tests.support.deliveries import EVERYBODY, NOW, after, arrived, claim_one, publication, record, row, rows

SLACK_ONLY = replace(EVERYBODY, enabled=frozenset({"slack"}))
EVENT = TABLES["event"]


def alert(title="Disk almost full", rules=EVERYBODY, **more):
    fields = {"title": title} | {name: more.pop(name) for name in ("dedup_key", "message") if name in more}
    return publication("generic_alert", fields, rules, **more)


def publish_all(connect, *publications, now=NOW):
    return connect.write(lambda connection: publish_many(connection, publications, now))


def publish_one(connect, prepared, now=NOW):
    return connect.write(lambda connection: publish(connection, prepared, now))


def destinations(store, **conditions):
    return [
        (entry.channel, entry.address, entry.status, entry.error, entry.routing_reason)
        for entry in rows(store, **conditions)
    ]


def add_user(store, email: str, **preference) -> str:
    user_id = new_id(NOW)
    choices = preference.pop("choices", {})
    user = {"id": user_id, "email": email, "role": "viewer", "created_at": NOW}
    user["disabled"] = preference.pop("disabled", False)
    defaults = {"slack_enabled": True, "email_enabled": True, "updated_at": NOW, "user_id": user_id}

    def write(connection):
        connection.execute(insert(TABLES["users"]), user)
        if preference:
            connection.execute(insert(TABLES["preference"]), defaults | preference)
        for event_type, is_enabled in choices.items():
            choice = {"user_id": user_id, "event_type": event_type, "enabled": is_enabled}
            connection.execute(insert(TABLES["event_preference"]), choice)

    store.write(write)
    return user_id


def test_publishing_writes_the_event_and_its_deliveries_and_nothing_else(store):
    published = publish_one(store, alert())
    assert published.created
    assert [entry.event_id for entry in rows(store)] == [published.event_id] * 2
    assert rows(store, TABLES["attempt"]) == []
    assert destinations(store) == [
        ("slack", "#platform-alerts", "pending", None, "default_channel"),
        ("email", "ops@corp.example", "pending", None, "admin_email"),
    ]


def test_a_published_event_is_read_back_unchanged(store):
    fields = {"feature_flag": "checkout-v3", "metric": "error_rate", "value": 0.07142857, "threshold": 0.05}
    published = publication("safety_rollback", fields, published_by="ci@corp.example")
    publish_one(store, published)
    kept = row(store, EVENT)
    assert (kept.severity, kept.feature_flag, kept.published_by) == ("critical", "checkout-v3", "ci@corp.example")
    assert restore(kept) == replace(published.fields.content(kept.id, NOW), event_json=kept.fields)


def test_an_event_keeps_the_time_that_it_says_it_happened(store):
    prepared = publication("generic_alert", {"title": "x", "occurred_at": "2026-03-01T10:00:00+02:00"})
    publish_one(store, prepared)
    assert row(store, EVENT).occurred_at.isoformat() == "2026-03-01T08:00:00+00:00"


def test_a_channel_that_is_off_gets_a_suppressed_delivery_with_the_cause(store):
    publish_one(store, alert(rules=SLACK_ONLY))
    assert destinations(store, channel="email") == [
        ("email", "ops@corp.example", "suppressed", "email_disabled", "admin_email")
    ]
    assert row(store, channel="email").next_attempt_at is None


def test_named_targets_replace_all_others(store):
    add_user(store, "dev@corp.example")
    publish_one(store, publication("safety_rollback", {}, to=["slack:#incident", "email:boss@corp.example"]))
    assert [address for _, address, *_ in destinations(store)] == ["#incident", "boss@corp.example"]
    assert {routing_reason for *_, routing_reason in destinations(store)} == {"named"}


def test_only_one_channel_when_only_one_is_asked_for(store):
    publish_one(store, alert(channel="email"))
    assert [channel for channel, *_ in destinations(store)] == ["email"]


def test_a_rollouts_next_stage_goes_to_slack_only(store):
    add_user(store, "dev@corp.example", slack_channel="#mine", choices={"rollout_advance": True})
    publish_one(store, publication("rollout_advance", {}))
    assert [address for _, address, *_ in destinations(store)] == ["#platform-alerts", "#mine"]


def test_a_generic_alert_asks_no_preferences(store):
    add_user(store, "dev@corp.example", slack_channel="#mine")
    publish_one(store, alert())
    assert [address for _, address, *_ in destinations(store)] == ["#platform-alerts", "ops@corp.example"]


@pytest.mark.parametrize(
    ("preference", "reached"),
    [
        ({}, ["dev@corp.example"]),
        ({"slack_channel": "#mine"}, ["#mine", "dev@corp.example"]),
        ({"slack_channel": "#mine", "slack_enabled": False}, ["dev@corp.example"]),
        ({"slack_channel": "#mine", "email_enabled": False}, ["#mine"]),
        ({"email_address": "private@home.example"}, ["private@home.example"]),
        ({"email_enabled": False}, []),
        ({"slack_enabled": False, "email_enabled": False, "slack_channel": "#mine"}, []),
        ({"disabled": True}, []),
        ({"choices": {"safety_rollback": False}}, []),
        ({"choices": {"safety_rollback": True}}, ["dev@corp.example"]),
        ({"choices": {"experiment_lifecycle": False}}, ["dev@corp.example"]),
    ],
)
def test_a_users_preferences_decide_what_is_sent_and_where(store, preference, reached):
    user_id = add_user(store, "dev@corp.example", **preference)
    publish_one(store, publication("safety_rollback", {}))
    assert [entry.address for entry in rows(store, user_id=user_id)] == reached


def test_a_user_gets_no_rollouts_by_default(store):
    add_user(store, "dev@corp.example", slack_channel="#mine")
    publish_one(store, publication("rollout_advance", {}))
    assert [address for _, address, *_ in destinations(store)] == ["#platform-alerts"]


def test_the_same_address_in_another_case_is_one_delivery(store):
    add_user(store, "OPS@Corp.Example", slack_channel="#Platform-Alerts")
    publish_one(store, publication("safety_rollback", {}, to=[]))
    assert [address for _, address, *_ in destinations(store)] == ["#platform-alerts", "ops@corp.example"]


def test_publishing_reads_who_it_would_reach_without_writing(store):
    with store.reading() as connection:
        addresses = [item.target.address for item in decisions_of(connection, alert())]
    assert addresses == ["#platform-alerts", "ops@corp.example"]
    assert rows(store, EVENT) == []


@pytest.mark.parametrize("key", [{"idempotency_key": "job-7"}, {"dedup_key": "job-7"}])
def test_the_same_key_answers_with_the_first_event_and_sends_nothing_more(store, key):
    first = publish_one(store, alert(**key))
    again = publish_one(store, alert(**key), now=after(3600))
    assert (first.created, again.created) == (True, False)
    assert again.event_id == first.event_id
    assert len(rows(store)) == 2
    assert len(rows(store, EVENT)) == 1


def test_the_receipt_of_a_repeated_event_has_its_deliveries_as_they_are_now(store):
    first = publish_one(store, alert(idempotency_key="job-7", to=["slack:#x"]))
    record(store, arrived(claim_one(store)))
    again = publish_one(store, alert(idempotency_key="job-7", to=["slack:#x"]))
    assert [(entry.id, entry.status) for entry in first.deliveries] == [(row(store).id, "pending")]
    assert [(entry.id, entry.status) for entry in again.deliveries] == [(row(store).id, "success")]


@pytest.mark.parametrize(
    ("key", "named"), [({"idempotency_key": "job-7"}, "idempotency key"), ({"dedup_key": "job-7"}, "dedup_key")]
)
def test_the_same_key_for_something_else_is_a_conflict(store, key, named):
    first = publish_one(store, alert(**key))
    with pytest.raises(Conflict) as conflict:
        publish_one(store, alert("Something else", **key))
    assert named in str(conflict.value)
    assert first.event_id in str(conflict.value)
    assert len(rows(store, EVENT)) == 1


def test_other_targets_are_something_else(store):
    publish_one(store, alert(idempotency_key="job-7"))
    with pytest.raises(Conflict):
        publish_one(store, alert(idempotency_key="job-7", to=["slack:#x"]))


def test_the_order_of_targets_makes_no_difference(store):
    publish_one(store, alert(idempotency_key="job-7", to=["slack:#x", "slack:#y"]))
    assert not publish_one(store, alert(idempotency_key="job-7", to=["slack:#y", "slack:#x"])).created


def test_idempotency_keys_belong_to_their_caller_and_dedup_keys_to_all(store):
    first, second = "ci@corp.example", "web@corp.example"
    publish_one(store, alert(idempotency_key="k", published_by=first))
    assert publish_one(store, alert(idempotency_key="k", published_by=second)).created
    publish_one(store, alert(dedup_key="d", published_by=first))
    assert not publish_one(store, alert(dedup_key="d", published_by=second)).created


def test_a_refused_pair_of_keys_stores_neither(store):
    publish_one(store, alert(dedup_key="d"))
    with pytest.raises(Conflict):
        publish_one(store, alert("other", dedup_key="d", idempotency_key="fresh"))
    assert publish_one(store, alert("third", idempotency_key="fresh")).created


def test_a_batch_answers_in_order_keyed_or_not(store):
    answers = publish_all(
        store,
        alert("a"),
        alert("b", idempotency_key="k"),
        alert("c"),
        alert("b", idempotency_key="k"),
        alert("d", idempotency_key="k"),
        alert("e", dedup_key="k"),
    )
    assert [getattr(entry, "created", "conflict") for entry in answers] == [True, True, True, False, "conflict", True]
    assert answers[3].event_id == answers[1].event_id
    titles = {entry.id: restore(entry).title for entry in rows(store, EVENT)}
    assert [titles[answers[index].event_id] for index in (0, 1, 2, 5)] == ["a", "b", "c", "e"]
    assert len(rows(store)) == 8


@pytest.mark.parametrize("through", ["store", "writer"])
@pytest.mark.parametrize("key", ["idempotency_key", "dedup_key"])
def test_twenty_identical_calls_at_once_make_one_event(store, through, key):
    connect = Writer(store) if through == "writer" else store
    begin = threading.Barrier(20)

    def call(_):
        begin.wait(10)
        return connect.write(lambda connection: publish_many(connection, [alert(**{key: "job-7"})], NOW)[0])

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(call, range(20)))
    if isinstance(connect, Writer):
        connect.close()
    assert len({entry.event_id for entry in answers}) == 1
    assert sum(entry.created for entry in answers) == 1
    assert (len(rows(store, EVENT)), len(rows(store))) == (1, 2)


def test_two_daemons_with_the_same_keys_in_different_order_do_not_wait_for_each_other(store):
    keys = [f"key-{number}" for number in range(30)]
    begin = threading.Barrier(2)

    def call(order):
        begin.wait(10)
        return [entry.created for entry in publish_all(store, *(alert(idempotency_key=key) for key in order))]

    with ThreadPoolExecutor(2) as threads:
        entry, second = threads.map(call, (keys, list(reversed(keys))))
    assert sum(entry) + sum(second) == 30
    assert len(rows(store, EVENT)) == 30


def test_ten_thousand_recipients_are_streamed(store, long):
    count = 10_000 if long else 2_000
    people = [
        {"id": new_id(NOW), "email": f"user-{number}@corp.example", "role": "viewer", "created_at": NOW}
        for number in range(count)
    ]
    store.write(lambda connection: connection.execute(insert(TABLES["users"]), people))
    tracemalloc.start()
    publish_one(store, publication("experiment_lifecycle", {"action": "started"}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows(store)) == count + 2
    assert peak < 30_000_000


def test_one_alert_after_another_can_be_published_in_one_transaction_with_a_claim(store):
    from alertctl import outbox

    def daemon(connection):
        publish(connection, publication("safety_rollback", {}), NOW)
        return outbox.claim(connection, outbox.ClaimScope("slack", "slack"), (9,) * 4, NOW, 30)

    assert len(store.write(daemon).taken) == 1


@each(
    ("more", "field"),
    [
        ({"channel": "sms"}, "channel"),
        ({"to": ["sms:123"]}, "to"),
        ({"to": ["x"]}, "to"),
        ({"to": ["email:no-at"]}, "to"),
        ({"to": ["email:a@corp.example,b@corp.example"]}, "to"),
        ({"to": ["email:a\ud800@corp.example"]}, "to"),
        ({"to": ["email:" + "ß" * 60 + "@" + ".".join(["ß" * 45] * 4)]}, "to"),
        ({"to": ["slack:"]}, "to"),
        ({"to": ["slack:#" + "x" * 81]}, "to"),
        ({"to": ["slack:#x\n"]}, "to"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"idempotency_key": "a\nb"}, "idempotency_key"),
        ({"idempotency_key": "\ud800"}, "idempotency_key"),
    ],
)
def test_an_invalid_field_is_named_before_anything_is_written(more, field):
    with pytest.raises(InvalidEvent) as caught:
        alert(**more)
    assert caught.value.field == field


def test_an_event_that_lacks_something_is_sent_with_a_warning(store):
    prepared = publication("safety_rollback", {})
    (warning,) = prepared.warnings
    assert "feature_flag" in warning
    assert publish_one(store, prepared).created


def test_a_test_is_one_delivery_that_says_it_is_a_test(store):
    request = PublishRequest(event_type="generic_alert", fields={"title": "Test"}, to=["slack:#x"])
    publish_one(store, prepare(request, EVERYBODY, "dev@corp.example", is_test=True))
    assert destinations(store) == [("slack", "#x", "pending", None, "test")]
    assert restore(row(store, EVENT)).notes[-1] == "This is a test: nothing happened."


HOSTILE = ["\0", "\ud800", "a\u202eb", "😀" * 200, "<!channel>", "'; DROP TABLE delivery; --", "\r\nBcc: x@y", "%s%n{}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_can_be_published_and_read_back(store, text):
    fields = {"title": f"x{text}", "message": text, "details": {f"k{text}": text}, "dedup_key": f"d{text}"}
    prepared = publication("generic_alert", fields)
    publish_one(store, prepared)
    content = restore(row(store, EVENT))
    assert content == replace(prepared.fields.content(content.event_id, NOW), event_json=prepared.fields_json)
    content.title.encode()
    assert "\0" not in content.title


def test_labels_are_stored_with_the_event_and_one_by_one_for_filters(store):
    receipt = publish_one(store, alert(labels={"team": "growth", "canary": True, "empty": ""}, to=["slack:#a"]))
    assert row(store, EVENT).labels == '{"team": "growth", "canary": "true"}'
    assert [(label.event_id, label.name, label.value) for label in rows(store, TABLES["event_label"])] == [
        (receipt.event_id, "canary", "true"),
        (receipt.event_id, "team", "growth"),
    ]
    assert receipt.deliveries[0].labels == {"team": "growth", "canary": "true"}


def test_a_repeated_call_returns_the_labels_and_stores_them_once(store):
    labelled = alert(labels={"team": "growth"}, idempotency_key="k")
    receipts = [publish_one(store, labelled) for _ in range(2)]
    assert [receipt.deliveries[0].labels for receipt in receipts] == [{"team": "growth"}] * 2
    assert len(rows(store, TABLES["event_label"])) == 1


def test_other_labels_under_a_used_key_are_a_conflict(store):
    publish_one(store, alert(labels={"team": "growth"}, idempotency_key="k"))
    with pytest.raises(Conflict):
        publish_one(store, alert(labels={"team": "payments"}, idempotency_key="k"))


def test_the_labels_of_events_that_are_published_together_are_their_own(store):
    receipts = publish_all(store, alert(labels={"n": 1}), alert(), alert(labels={"n": 2}))
    assert [receipt.deliveries[0].labels for receipt in receipts] == [{"n": "1"}, {}, {"n": "2"}]
    assert [label.value for label in rows(store, TABLES["event_label"])] == ["1", "2"]


def test_a_wrong_label_is_refused_and_an_unusual_value_is_a_warning():
    with pytest.raises(InvalidEvent, match=r"^labels: 'my team' is not a label name"):
        alert(labels={"my team": "x"})
    assert "labels.team: is longer than 255 characters and was cut" in alert(labels={"team": "x" * 300}).warnings


def routed(toml: str):
    """Return the usual rules with these routes."""
    return replace(EVERYBODY, routes=parse_routes(tomllib.loads(toml)["routes"]))


def test_a_route_is_stored_with_its_deliveries_and_the_form_of_their_messages(store):
    rules = routed('[[routes]]\nname = "disk"\nto = ["#disk"]\nstyle = "compact"\nmention = ["S0123ABC"]\n')
    publish_one(store, alert(rules=rules))
    entry = row(store)
    assert (entry.address, entry.routing_reason, entry.route, entry.status) == ("#disk", "route", "disk", "pending")
    assert MessageOptions.from_json(entry.options) == MessageOptions("compact", ("S0123ABC",))


def test_the_audience_that_a_route_suppresses_is_recorded_with_the_route(store):
    add_user(store, "ana@corp.example")
    rules = routed('[[routes]]\nname = "quiet"\nmatch.environment = "staging"\nto = []\n')
    fields = {"feature_flag": "x", "environment": "staging"}
    publish_one(store, publication("safety_rollback", fields, rules))
    assert destinations(store) == [
        ("email", "ana@corp.example", "pending", None, "user_email"),
        ("slack", "#platform-alerts", "suppressed", "route quiet", "default_channel"),
        ("email", "ops@corp.example", "suppressed", "route quiet", "admin_email"),
    ]
    assert [entry.route for entry in rows(store)] == [None, "quiet", "quiet"]


def test_a_label_adds_a_target_that_the_policy_allows(store):
    rules = replace(EVERYBODY, policy=RecipientPolicy({"slack": ("team-*",)}))
    for address in ("#team-a", "#x"):
        publish_one(store, alert(rules=rules, labels={"slack": address}))
    assert destinations(store, routing_reason="label") == [
        ("slack", "#team-a", "pending", None, "label"),
        ("slack", "#x", "suppressed", "recipient_not_allowed", "label"),
    ]
