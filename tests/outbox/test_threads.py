"""The thread of a subject: which message begins it, replies, or waits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from alertctl import outbox
from alertctl.channels.base import MessageOptions, Receipt
from alertctl.db import Store
from alertctl.errors import Reason
from alertctl.outbox import AttemptResult, ClaimScope
from alertctl.outbox.prune import FINAL
from alertctl.outbox.tables import delivery, thread
from alertctl.publish import publish
from tests.support.deliveries import LEASE, NOW, after, attempts, claim, publication, record, refused, row, rows
from tests.support.query_costs import costs

SLACK = ClaimScope("slack", "slack", threads=True)
OFF = replace(SLACK, threads=False)
DAY = 86400


def roll_out(store, to=50, *, flag="checkout-v3", address="slack:#ops", now=NOW, **more) -> str:
    """Publish a step of a rollout. Return its event's id."""
    fields = {"feature_flag": flag, "environment": "production", "to_percentage": to, **more}
    alert = publication("rollout_advance", fields, to=[address])
    return store.write(lambda connection: publish(connection, alert, now)).event_id


def roll_back(store, now=NOW, **more) -> str:
    fields = {"feature_flag": "checkout-v3", "environment": "production", **more}
    alert = publication("safety_rollback", fields, to=["slack:#ops"])
    return store.write(lambda connection: publish(connection, alert, now)).event_id


def take(store, scope=SLACK, now=NOW, **more):
    return claim(store, scope, now=now, **more).taken


def take_one(store, scope=SLACK, now=NOW):
    (only,) = take(store, scope, now)
    return only


def sent(claimed, ts="1.1", **more) -> AttemptResult:
    more = {"provider_channel": "C1", "in_thread": claimed.reply_to is not None, **more}
    return AttemptResult(claimed, Receipt(ts, "{}", **more), 12)


def begin_thread(store, now=NOW) -> str:
    """Send the first message of a subject. Return the thread's id."""
    roll_out(store, 10, now=now)
    root = take_one(store, now=now)
    record(store, sent(root), scope=SLACK, now=now)
    return root.delivery_id


def test_the_first_message_is_the_root_and_the_next_one_replies(store):
    root = begin_thread(store)
    roll_out(store, 50, now=after(60))
    reply = take_one(store, now=after(60))
    assert (reply.reply_to.provider_channel, reply.reply_to.root_ts, reply.broadcast) == ("C1", "1.1", False)
    record(store, sent(reply, "2.2"), scope=SLACK, now=after(61))
    assert [entry.thread_id for entry in rows(store)] == [root, root]
    opened = row(store, thread)
    assert (opened.id, opened.root_ts, opened.claimed_until) == (root, "1.1", None)
    assert opened.edit_due_at == after(61)


def test_a_rollback_joins_the_rollouts_thread_and_is_broadcast(store):
    begin_thread(store)
    roll_back(store)
    reply = take_one(store)
    assert reply.reply_to is not None
    assert reply.broadcast


def test_of_two_messages_in_one_claim_the_first_is_the_root_and_the_other_waits_a_second_uncounted(store):
    first, second = roll_out(store, 10), roll_out(store, 20)
    result = claim(store, SLACK)
    assert ([claimed.event_id for claimed in result.taken], result.waiting) == ([first], 1)
    waiting = row(store, event_id=second)
    assert (waiting.status, waiting.attempts, waiting.next_attempt_at) == ("pending", 0, after(1))
    assert attempts(store, waiting.id) == []
    assert take(store, now=after(1)) == []
    record(store, sent(result.taken[0]), scope=SLACK, now=after(1.5))
    assert take_one(store, now=after(2)).reply_to is not None


def test_a_message_waits_for_its_root_for_thirty_seconds_and_then_goes_out_alone(store):
    roll_out(store, 10)
    root = take_one(store)
    roll_out(store, 20)
    store.write(lambda connection: outbox.renew(connection, [root], after(100)))
    assert take(store, now=after(29)) == []
    alone = take_one(store, now=after(30))
    assert (alone.membership, alone.reply_to) == (None, None)
    record(store, sent(alone, "9.9"), scope=SLACK, now=after(31))
    assert row(store, id=alone.delivery_id).thread_id is None
    assert row(store, thread).claimed_until == after(100)
    record(store, sent(root), scope=SLACK, now=after(40))
    assert row(store, thread).root_ts == "1.1"


@pytest.mark.parametrize("reason", [Reason.BAD_ADDRESS, Reason.UNAVAILABLE, Reason.AMBIGUOUS, Reason.RATE_LIMITED])
def test_a_root_that_failed_frees_the_thread(store, reason):
    roll_out(store, 10)
    record(store, refused(take_one(store), reason), scope=SLACK)
    assert row(store, thread).claimed_until == NOW
    roll_back(store, now=after(100))
    assert take(store, now=after(100))[0].new_thread_id is not None


def test_messages_wait_thirty_seconds_in_all_while_one_root_after_the_other_fails(store):
    ids = [roll_out(store, to) for to in (10, 20, 30, 40, 50)]
    for seconds in (0, 12, 24):
        root, *others = take(store, now=after(seconds))
        assert (root.new_thread_id, others) == (root.delivery_id, [])
        record(store, refused(root, Reason.BAD_ADDRESS), scope=SLACK, now=after(seconds + 12))
    late = roll_out(store, 60, now=after(36))
    taken = take(store, now=after(36))
    assert [claimed.event_id for claimed in taken] == ids[3:]
    assert [claimed.membership is not None for claimed in taken] == [True, False]
    record(store, sent(taken[0]), scope=SLACK, now=after(37))
    assert take_one(store, now=after(38)).event_id == late


def test_messages_wait_for_a_root_again_when_roots_have_failed_long_ago(store):
    roll_out(store, 10)
    record(store, refused(take_one(store), Reason.BAD_ADDRESS), scope=SLACK)
    for to in (20, 30):
        roll_out(store, to, now=after(700))
    (root,) = take(store, now=after(700))
    record(store, sent(root), scope=SLACK, now=after(700))
    assert take_one(store, now=after(702)).reply_to is not None


def test_a_released_root_frees_the_thread(store):
    roll_out(store, 10)
    root = take_one(store)
    store.write(lambda connection: outbox.release(connection, [root]))
    assert rows(store, thread) == []


def test_a_root_whose_lease_ended_is_followed_by_the_next_message(store):
    roll_out(store, 10)
    lost = take_one(store)
    second = roll_out(store, 20, now=after(LEASE - 5))
    (root,) = take(store, replace(SLACK, event_id=second), now=after(LEASE))
    assert root.new_thread_id == row(store, thread).id == root.delivery_id
    record(store, sent(lost), scope=SLACK, now=after(LEASE + 1))
    assert row(store, thread).id == root.delivery_id
    assert row(store, thread).root_ts is None


def test_a_late_result_of_a_root_changes_nothing(store):
    roll_out(store, 10)
    lost = take_one(store)
    again = take_one(store, now=after(LEASE))
    assert again.new_thread_id == lost.new_thread_id
    record(store, refused(lost, Reason.UNAVAILABLE), scope=SLACK, now=after(LEASE + 1))
    assert row(store, thread).claimed_until == after(2 * LEASE)
    record(store, sent(again, "3.3"), refused(lost, Reason.UNAVAILABLE), scope=SLACK, now=after(LEASE + 2))
    assert row(store, thread).root_ts == "3.3"


def test_a_renewed_lease_renews_the_threads_claim(store):
    roll_out(store, 10)
    root = take_one(store)
    store.write(lambda connection: outbox.renew(connection, [root], after(99)))
    assert row(store, thread).claimed_until == after(99)


def test_a_reply_at_top_level_ends_the_thread(store):
    begin_thread(store)
    roll_out(store, 50)
    record(store, sent(take_one(store), in_thread=False), scope=SLACK)
    assert rows(store, thread) == []
    assert [entry.thread_id for entry in rows(store)] == [None, None]
    roll_out(store, 60)
    assert take_one(store).new_thread_id is not None


@pytest.mark.parametrize(("to", "days"), [(50, 14), (100, 1)])
def test_a_thread_ends_after_two_weeks_or_a_day_after_the_end_of_its_subject(store, to, days):
    begin_thread(store)
    roll_out(store, to, now=after(DAY))
    record(store, sent(take_one(store, now=after(DAY))), scope=SLACK, now=after(DAY))
    end = NOW + timedelta(days=1 + days)
    assert row(store, thread).ends_at == end
    roll_out(store, 10, now=end)
    assert take_one(store, now=end).reply_to is not None
    later = end + timedelta(seconds=LEASE)
    roll_out(store, 20, now=later)
    root = take(store, now=later)[-1]
    assert row(store, thread).id == root.delivery_id == root.new_thread_id


def test_an_older_event_that_arrives_late_does_not_prolong_a_thread_that_ends(store):
    begin_thread(store)
    roll_out(store, 100, now=after(DAY))
    record(store, sent(take_one(store, now=after(DAY))), scope=SLACK, now=after(DAY))
    roll_out(store, 50, now=after(DAY + 9), occurred_at=after(3600).isoformat())
    record(store, sent(take_one(store, now=after(DAY + 9))), scope=SLACK, now=after(DAY + 9))
    assert row(store, thread).ends_at == NOW + timedelta(days=2)


def test_a_time_in_the_future_does_not_keep_a_thread_open(store):
    roll_out(store, 10, occurred_at="2099-01-01T00:00:00Z")
    record(store, sent(take_one(store)), scope=SLACK)
    assert row(store, thread).ends_at == NOW + timedelta(days=14)


def test_another_environment_and_another_channel_have_threads_of_their_own(store):
    begin_thread(store)
    roll_out(store, 10, environment="staging")
    roll_out(store, 10, address="slack:#other")
    assert [claimed.reply_to for claimed in take(store)] == [None, None]
    assert len(rows(store, thread)) == 3


@pytest.mark.parametrize("scope", [OFF, replace(SLACK, threads=None)])
def test_without_threads_every_message_stands_alone(store, scope):
    roll_out(store, 10)
    roll_out(store, 20)
    assert [claimed.membership for claimed in take(store, scope)] == [None, None]
    assert rows(store, thread) == []


def test_a_message_without_a_subject_stands_alone(store):
    alert = publication("generic_alert", {"title": "Disk almost full"}, to=["slack:#ops"])
    store.write(lambda connection: publish(connection, alert, NOW))
    assert take_one(store).membership is None


def test_two_processes_that_claim_at_once_get_one_root(store, database_url):
    ids = [roll_out(store, 10 * number) for number in range(1, 9)]
    others = [Store(database_url) for _ in ids]
    with ThreadPoolExecutor(len(ids)) as pool:
        claims = list(
            pool.map(lambda pair: claim(pair[0], replace(SLACK, event_id=pair[1])), zip(others, ids, strict=True))
        )
    for other in others:
        other.close()
    assert sorted(len(result.taken) for result in claims) == [0] * 7 + [1]
    assert sum(result.waiting for result in claims) == 7


def test_the_rate_limit_is_asked_for_roots_and_replies_only(store):
    asked = []
    roll_out(store, 10)
    roll_out(store, 20)

    def turn(claimed):
        asked.append(claimed.event_id)
        return 0.0

    claim(store, SLACK, seconds_to_turn=turn)
    assert len(asked) == 1


def test_a_root_that_waits_for_its_turn_claims_no_thread(store):
    roll_out(store, 10)
    assert claim(store, SLACK, seconds_to_turn=lambda claimed: 3.0).deferred == 1
    assert rows(store, thread) == []


def test_prune_forgets_threads_a_week_after_their_end(store):
    begin_thread(store)
    end = row(store, thread).ends_at
    keep = dict.fromkeys(FINAL, 3650)
    outbox.prune(store, keep, end + timedelta(days=7))
    assert len(rows(store, thread)) == 1
    outbox.prune(store, keep, end + timedelta(days=7, seconds=1))
    assert rows(store, thread) == []


@pytest.mark.parametrize(("default", "option"), [(True, False), (False, True)])
def test_a_route_decides_otherwise_than_the_setting(store, default, option):
    roll_out(store, 10)
    options = MessageOptions(threads=option).to_json()
    store.write(lambda connection: connection.execute(delivery.update().values(options=options)))
    assert (take_one(store, replace(SLACK, threads=default)).membership is not None) is option


def claim_edit(store, now=NOW, lease=40.0):
    return store.write(lambda connection: outbox.claim_edit(connection, "slack", now, lease))


def begin_edited_thread(store) -> str:
    """Send a root and a reply, so that an edit is due. Return the thread's id."""
    thread_id = begin_thread(store)
    roll_out(store, 20)
    record(store, sent(take_one(store), "1.2"), scope=SLACK)
    return thread_id


@pytest.mark.parametrize("seconds_behind", [6, 299])
def test_an_edit_in_progress_is_not_due_by_the_clock_of_a_machine_that_is_behind(store, seconds_behind):
    begin_edited_thread(store)
    assert claim_edit(store) is not None
    assert claim_edit(store, after(-seconds_behind)) is None


def test_an_edit_that_was_claimed_long_in_the_future_is_due_because_the_clock_was_set_back(store):
    begin_edited_thread(store)
    assert claim_edit(store) is not None
    assert claim_edit(store, after(-301)) is not None


def test_the_late_end_of_an_edit_that_another_process_took_over_sets_no_time(store):
    thread_id = begin_edited_thread(store)
    late = claim_edit(store)
    current = claim_edit(store, after(41))
    store.write(lambda connection: outbox.record_edit(connection, late, after(42)))
    assert row(store, id=thread_id).edited_at is None
    store.write(lambda connection: outbox.record_edit(connection, current, after(43)))
    assert row(store, id=thread_id).edited_at == after(43)


def test_looking_for_due_edits_costs_the_same_with_many_threads(store):
    columns = {"channel": "slack", "address_key": "ops", "claimed_at": NOW, "occurred_at": NOW, "ends_at": NOW}
    threads = [columns | {"subject_key": f"flag-{number}", "id": f"{number:036}"} for number in range(2_000)]
    store.write(lambda connection: connection.execute(insert(thread), threads))
    with store.writing() as connection, costs(store, connection) as read:
        assert outbox.next_edit_due_at(connection, "slack", NOW) is None
        assert outbox.claim_edit(connection, "slack", NOW, 40) is None
    assert read[0] <= 500
