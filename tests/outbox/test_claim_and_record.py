"""Enqueue, claim, record and release deliveries."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from alertctl import outbox
from alertctl.db import Store
from alertctl.errors import Reason
from alertctl.ids import new_id
from alertctl.outbox.tables import INTERRUPTED, delivery
from tests.support import cli_process
from tests.support.deliveries import (
    EMAIL,
    LEASE,
    NOW,
    SCHEDULE,
    SLACK,
    after,
    announce,
    arrived,
    attempts,
    claim,
    claim_one,
    record,
    refused,
    row,
)

BUSY = """
import sys
from tests.support.deliveries import claim, claim_one
from alertctl.db import Store
store = Store(sys.argv[1])
sys.stdin.readline()
while taken := claim(store, limit=7).taken:
    print(*(claimed.delivery_id for claimed in taken), flush=True)
"""


def release(store, *claims, now=NOW) -> None:
    store.write(lambda connection: outbox.release(connection, claims))


def test_a_new_delivery_is_due_at_once_and_was_never_tried(store):
    announce(store, "slack:#a")
    entry = row(store)
    assert (entry.status, entry.attempts, entry.next_attempt_at, entry.error) == ("pending", 0, NOW, None)


def test_a_claim_writes_the_attempt_before_anything_is_sent(store):
    announce(store, "slack:#a")
    claimed = claim_one(store)
    now_sending, (attempt,) = row(store), attempts(store, claimed.delivery_id)
    assert (now_sending.status, now_sending.attempts) == ("sending", 1)
    assert now_sending.next_attempt_at == after(LEASE)
    assert (attempt.number, attempt.outcome, attempt.provider, attempt.started_at) == (1, None, "slack", NOW)


def test_a_claimed_delivery_is_not_claimed_again_until_its_lease_ends(store):
    announce(store, "slack:#a")
    claim_one(store)
    assert claim(store, now=after(LEASE - 0.1)).taken == []
    assert len(claim(store, now=after(LEASE)).taken) == 1


def test_a_claim_takes_its_own_channel_only(store):
    announce(store, "slack:#a", "email:a@corp.example")
    assert [entry.address for entry in claim(store, EMAIL).taken] == ["a@corp.example"]
    assert [entry.address for entry in claim(store, SLACK).taken] == ["#a"]


def test_a_claim_for_one_event_leaves_the_others(store):
    announce(store, "slack:#a")
    event_id = announce(store, "slack:#b")
    assert [entry.event_id for entry in claim(store, outbox.ClaimScope("slack", "slack", event_id)).taken] == [event_id]
    assert len(claim(store).taken) == 1


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_a_claim_never_takes_more_than_it_may(store, limit):
    announce(store, *(f"slack:#channel-{number}" for number in range(50)))
    assert len(claim(store, limit=limit).taken) == limit


def test_a_claim_never_exceeds_its_limit_under_any_plan_of_postgres(postgres_url):
    store = Store(postgres_url)
    announce(store, *(f"slack:#channel-{number}" for number in range(50)))
    plans = ["hashjoin", "hashagg", "mergejoin", "sort", "material", "memoize", "indexscan", "bitmapscan"]

    def with_a_nested_loop(connection):
        for plan in plans:
            connection.execute(text(f"SET LOCAL enable_{plan} = off"))
        return outbox.claim(connection, SLACK, (7,) * 4, NOW, LEASE)

    assert len(store.write(with_a_nested_loop).taken) == 7
    store.close()


def test_a_success_is_final_and_keeps_the_providers_answer(store):
    announce(store, "slack:#a")
    claimed = claim_one(store)
    record(store, arrived(claimed), now=after(1))
    done, (attempt,) = row(store), attempts(store, claimed.delivery_id)
    assert (done.status, done.next_attempt_at, done.error) == ("success", None, None)
    assert done.provider_id == "1700000000.000100"
    assert (attempt.outcome, attempt.answer, attempt.duration_ms) == ("success", '{"ok": true}', 12)
    assert claim(store, now=after(10**7)).taken == []


@pytest.mark.parametrize(
    ("reason", "wait"),
    [
        (Reason.UNAVAILABLE, 5),
        (Reason.AMBIGUOUS, 5),
        (Reason.REJECTED, 0),
        (Reason.BAD_ADDRESS, None),
        (Reason.CONFIG, 0),
        (Reason.LOCAL, 5),
    ],
)
def test_the_reason_decides_about_the_retry(store, reason, wait):
    announce(store, "slack:#a")
    claimed = claim_one(store)
    record(store, refused(claimed, reason, "its_code"))
    failed, (attempt,) = row(store), attempts(store, claimed.delivery_id)
    assert (failed.status, failed.error, failed.reason) == ("failed", "its_code", reason.value)
    assert failed.next_attempt_at == (None if wait is None else after(wait))
    assert (attempt.outcome, attempt.code, attempt.answer) == ("failed", "its_code", "what it said")
    assert failed.ambiguous is (reason is Reason.AMBIGUOUS)


def test_failures_end_with_the_schedule(store):
    announce(store, "slack:#a")
    now = NOW
    for wait in SCHEDULE:
        record(store, refused(claim_one(store, now=now), Reason.UNAVAILABLE), now=now)
        assert (row(store).next_attempt_at - now).total_seconds() == wait
        now = row(store).next_attempt_at
    record(store, refused(claim_one(store, now=now), Reason.UNAVAILABLE), now=now)
    assert (row(store).status, row(store).next_attempt_at, row(store).attempts) == ("failed", None, len(SCHEDULE) + 1)


def test_a_rejected_message_is_asked_for_once_more_as_plain_text(store):
    announce(store, "slack:#a")
    first = claim_one(store)
    record(store, refused(first, Reason.REJECTED, "invalid_blocks"))
    second = claim_one(store)
    assert (first.plain, second.plain) == (False, True)
    record(store, refused(second, Reason.REJECTED, "invalid_blocks"))
    assert row(store).next_attempt_at is None


def test_a_lease_that_ran_out_leaves_an_interrupted_attempt_and_an_ambiguous_delivery(store):
    announce(store, "slack:#a")
    lost = claim_one(store)
    again = claim_one(store, now=after(LEASE))
    first, second = attempts(store, lost.delivery_id)
    assert (again.attempt, again.tries) == (2, 2)
    assert (first.outcome, first.reason, first.code) == ("failed", "ambiguous", INTERRUPTED)
    assert second.outcome is None
    assert row(store).ambiguous


@pytest.mark.parametrize("late", [arrived, lambda claimed: refused(claimed, Reason.BAD_ADDRESS)])
def test_a_result_that_comes_after_the_lease_was_taken_over_changes_nothing(store, late):
    announce(store, "slack:#a")
    lost = claim_one(store)
    claim_one(store, now=after(LEASE))
    before, known = row(store), attempts(store, lost.delivery_id)
    record(store, late(lost), now=after(LEASE + 1))
    assert row(store) == before
    assert attempts(store, lost.delivery_id) == known


def test_a_late_result_does_not_undo_an_end(store):
    announce(store, "slack:#a")
    lost = claim_one(store)
    record(store, arrived(claim_one(store, now=after(LEASE))), now=after(LEASE + 1))
    record(store, refused(lost, Reason.BAD_ADDRESS), now=after(LEASE + 2))
    assert row(store).status == "success"


def test_a_result_that_is_late_but_still_first_counts(store):
    announce(store, "slack:#a")
    claimed = claim_one(store)
    record(store, arrived(claimed), now=after(LEASE + 100))
    assert (row(store).status, row(store).ambiguous) == ("success", False)


def test_a_delivery_stays_marked_as_ambiguous_once_it_was(store):
    announce(store, "slack:#a")
    record(store, refused(claim_one(store), Reason.AMBIGUOUS))
    record(store, arrived(claim_one(store, now=after(5))), now=after(5))
    assert (row(store).status, row(store).ambiguous) == ("success", True)


def test_a_released_delivery_counts_as_never_claimed(store):
    announce(store, "slack:#a")
    claimed = claim_one(store)
    release(store, claimed, now=after(1))
    entry = row(store)
    assert (entry.status, entry.attempts, entry.next_attempt_at, entry.ambiguous) == ("pending", 0, NOW, False)
    assert attempts(store, claimed.delivery_id) == []
    assert claim_one(store, now=after(1)).tries == 1


def test_a_released_retry_is_failed_and_waits_again(store):
    announce(store, "slack:#a")
    record(store, refused(claim_one(store), Reason.UNAVAILABLE, "http_503"))
    release(store, claim_one(store, now=after(5)), now=after(6))
    entry = row(store)
    assert (entry.status, entry.attempts, entry.error, entry.next_attempt_at) == ("failed", 1, "http_503", NOW)


def test_releasing_a_delivery_that_another_process_has_claimed_changes_nothing(store):
    announce(store, "slack:#a")
    lost = claim_one(store)
    claim_one(store, now=after(LEASE))
    before = row(store)
    release(store, lost, now=after(LEASE + 1))
    assert row(store) == before
    assert len(attempts(store, lost.delivery_id)) == 2


def test_a_delivery_held_up_by_the_rate_limit_moves_to_its_turn_uncounted(store):
    announce(store, "slack:#a", "slack:#b")
    result = claim(store, seconds_to_turn=lambda claimed: 3.0 if claimed.address == "#b" else 0.0)
    held = row(store, address="#b")
    assert ([entry.address for entry in result.taken], result.deferred) == (["#a"], 1)
    assert (held.status, held.attempts, held.next_attempt_at) == ("pending", 0, after(3))
    assert attempts(store, held.id) == []


def _some_event(store) -> str:
    event_id = announce(store, "slack:#first")
    store.write(lambda connection: connection.execute(delivery.delete()))
    return event_id


def _raw(event_id, address, **more):
    common = {
        "event_type": "generic_alert",
        "channel": "slack",
        "routing_reason": "named",
        "status": "failed",
        "priority": 3,
    }
    times = {"queued_at": NOW, "next_attempt_at": NOW, "created_at": NOW, "updated_at": NOW}
    where = {"id": new_id(NOW), "event_id": event_id, "address": address, "address_key": address}
    return where | common | times | more


def test_a_fresh_critical_alert_is_claimed_before_any_number_of_retries(store, long):
    event_id = _some_event(store)
    backlog = [_raw(event_id, f"#channel-{number}", attempts=1) for number in range(50_000 if long else 3_000)]
    store.write(lambda connection: connection.execute(insert(delivery), backlog))
    announce(store, "slack:#fresh", now=after(1))
    announce(store, "slack:#critical", event_type="safety_rollback", now=after(2))
    first = claim(store, limit=2, now=after(3)).taken
    assert [entry.address for entry in first] == ["#critical", "#fresh"]


def test_among_equal_priorities_the_oldest_is_claimed_first(store):
    for seconds in (3, 1, 2):
        announce(store, f"slack:#at-{seconds}", now=after(seconds))
    order = [claim(store, limit=1, now=after(9)).taken[0].address for _ in range(3)]
    assert order == ["#at-1", "#at-2", "#at-3"]


def test_a_claim_that_finds_nothing_knows_when_something_falls_due(store):
    announce(store, "slack:#a")
    record(store, refused(claim_one(store), Reason.UNAVAILABLE))
    assert claim(store, now=after(1)).next_due == after(5)


def test_threads_that_claim_at_once_never_share_a_delivery(store, long):
    events, targets = (3, 1000) if long else (1, 400)
    count = events * targets
    for _ in range(events):
        announce(store, *(f"slack:#channel-{number}" for number in range(targets)))
    begin = threading.Barrier(12)

    def work(_):
        begin.wait(10)
        own = []
        while taken := claim(store, limit=7).taken:
            own += [entry.delivery_id for entry in taken]
        return own

    with ThreadPoolExecutor(12) as threads:
        result = [entry for own in threads.map(work, range(12)) for entry in own]
    # Where a claim passed over rows that others held, those others have taken them.
    assert len(result) == len(set(result)) == count


def test_processes_that_claim_at_once_never_share_a_delivery(store):
    announce(store, *(f"slack:#channel-{number}" for number in range(300)))
    url = store.url.render_as_string(hide_password=False)
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path[:0] = [{root!r}]" + BUSY
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [cli_process.Popen([sys.executable, "-c", code, url], **pipes) for _ in range(2)]
    outputs = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    result = [entry for own in outputs for entry in own]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(result) == len(set(result)) == 300
