"""Resend a delivery at a person's request."""

from __future__ import annotations

from sqlalchemy import update

from alertctl import outbox
from alertctl.errors import Reason
from alertctl.outbox.tables import delivery, event
from alertctl.routing import RecipientPolicy, RoutingRules, Target
from tests.support.deliveries import (
    NOW,
    after,
    announce,
    arrived,
    attempts,
    claim,
    claim_one,
    record,
    refused,
    row,
    rows,
)


def resend(store, *ids, now=NOW, **options):
    return store.write(lambda connection: outbox.resend(connection, ids, "dev@corp.example", now, **options))


def test_a_resend_begins_a_new_round_and_says_who_asked(store):
    announce(store, "slack:#a")
    first = claim_one(store)
    record(store, refused(first, Reason.BAD_ADDRESS, "channel_not_found"))
    assert [entry.problem for entry in resend(store, first.delivery_id, now=after(60))] == [None]
    assert (row(store).status, row(store).error, row(store).next_attempt_at) == ("pending", None, after(60))
    second = claim_one(store, now=after(60))
    assert (second.attempt, second.tries, second.plain) == (2, 1, False)
    assert [entry.requested_by for entry in attempts(store, first.delivery_id)] == [None, "dev@corp.example"]


def test_a_retry_after_a_resend_has_no_requester(store):
    announce(store, "slack:#a")
    record(store, refused(claim_one(store), Reason.BAD_ADDRESS))
    resend(store, row(store).id)
    record(store, refused(claim_one(store), Reason.UNAVAILABLE))
    claim_one(store, now=after(5))
    assert [entry.requested_by for entry in attempts(store, row(store).id)] == [None, "dev@corp.example", None]


def test_a_resend_returns_why_it_refused_some(store):
    announce(store, "slack:#a")
    arrived_claim = claim_one(store)
    record(store, arrived(arrived_claim))
    announce(store, "slack:#b")
    sending = claim_one(store)
    outcomes = resend(store, arrived_claim.delivery_id, sending.delivery_id, "no-such-id")
    assert [entry.problem for entry in outcomes] == [
        "it has arrived already",
        "it is being sent right now",
        "no such delivery",
    ]
    assert row(store, id=arrived_claim.delivery_id).status == "success"


def test_a_delivered_message_is_resent_only_with_again(store):
    announce(store, "slack:#a")
    record(store, arrived(claim_one(store)))
    assert resend(store, row(store).id, again=True)[0].problem is None
    assert claim_one(store).tries == 1


def test_a_suppressed_delivery_is_not_due_before_a_resend(store):
    announce(store, "slack:#a")
    suppressed_reason = update(delivery).values(status="suppressed", next_attempt_at=None)
    store.write(lambda connection: connection.execute(suppressed_reason))
    assert claim(store, now=after(10**6)).taken == []
    resend(store, row(store).id)
    assert len(claim(store).taken) == 1


def test_a_delivery_whose_event_expired_is_not_resent(store):
    announce(store, "slack:#a")
    store.write(lambda connection: connection.execute(update(event).values(expires_at=after(10))))
    record(store, refused(claim_one(store), Reason.BAD_ADDRESS))
    assert [entry.problem for entry in resend(store, row(store).id, now=after(9))] == [None]
    record(store, refused(claim_one(store, now=after(9)), Reason.BAD_ADDRESS))
    (outcome,) = resend(store, row(store).id, now=after(10), again=True)
    assert outcome.problem == "its event expired at 2026-03-02T14:32:10Z; send the event again"
    assert row(store).next_attempt_at is None


def test_the_recipient_policy_holds_for_a_resend_but_not_for_the_platforms_own_addresses(store):
    for address in ("#ops", "#random", "#default", "#routed"):
        announce(store, f"slack:{address}")
        record(store, refused(claim_one(store), Reason.BAD_ADDRESS))
    of_route = update(delivery).where(delivery.c.address == "#routed").values(route="payments")
    store.write(lambda connection: connection.execute(of_route))
    policy = RecipientPolicy({"slack": ("ops*",)})
    rules = RoutingRules((Target("slack", "default", "default_channel"),), frozenset({"slack"}), policy)
    outcomes = resend(store, *(item.id for item in rows(store)), rules=rules)
    problems = {row(store, id=outcome.id).address: outcome.problem for outcome in outcomes}
    assert problems == {
        "#ops": None,
        "#random": "'#random' is not an allowed recipient (ALERTCTL_ALLOWED_SLACK_CHANNELS: ops*)",
        "#default": None,
        "#routed": None,
    }
