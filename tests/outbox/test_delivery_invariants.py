"""Invariants of deliveries that hold after any sequence of operations."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy import delete

from alertctl import outbox
from alertctl.db import Store
from alertctl.errors import Reason
from alertctl.outbox.tables import TABLES, attempt, pauses
from tests.support.deliveries import NOW, SLACK, announce, arrived, claim, record, refused, rows


class DeliveryLife(RuleBasedStateMachine):
    """Publishes, claims, records, releases and resends. Several senders may hold one delivery."""

    held = Bundle("held")

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.now = store, NOW
        self.attempts: dict[str, int] = defaultdict(int)
        self.arrived: set[str] = set()
        for table in (TABLES["event"], pauses):
            store.write(lambda connection, table=table: connection.execute(delete(table)))

    @rule(address=st.sampled_from(["#a", "#b"]), critical=st.booleans())
    def publish(self, address, critical):
        kind = "safety_rollback" if critical else "generic_alert"
        announce(self.store, f"slack:{address}", event_type=kind, now=self.now)

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 4000]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(target=held, limit=st.integers(1, 3))
    def claim(self, limit):
        taken = claim(self.store, SLACK, limit, self.now).taken
        for entry in taken:
            assert entry.attempt == self.attempts[entry.delivery_id] + 1
            assert entry.delivery_id not in self.arrived
            self.attempts[entry.delivery_id] = entry.attempt
        return multiple(*taken)

    @rule(claimed=consumes(held))
    def it_arrives(self, claimed):
        record(self.store, arrived(claimed), now=self.now)
        if claimed.attempt == self.attempts[claimed.delivery_id] and self._row(claimed).status == "success":
            self.arrived.add(claimed.delivery_id)

    @rule(claimed=consumes(held), reason=st.sampled_from(list(Reason)), entire_provider=st.booleans())
    def it_fails(self, claimed, reason, entire_provider):
        ended = refused(claimed, reason, "code", entire_provider=entire_provider)
        record(self.store, ended, now=self.now)

    @rule(claimed=consumes(held))
    def it_is_released(self, claimed):
        before = self._row(claimed)
        self.store.write(lambda connection: outbox.release(connection, [claimed]))
        still_claimed = before.status == "sending" and before.attempts == claimed.attempt
        self.attempts[claimed.delivery_id] -= still_claimed

    @rule(claimed=held, again=st.booleans())
    def somebody_resends_it(self, claimed, again):
        ids = [claimed.delivery_id]
        (outcome,) = self.store.write(lambda connection: outbox.resend(connection, ids, "dev", self.now, again=again))
        if outcome.problem is None:
            self.arrived.discard(claimed.delivery_id)

    def _row(self, claimed):
        (only,) = rows(self.store, id=claimed.delivery_id)
        return only

    @invariant()
    def final_and_only_final_deliveries_have_no_next_attempt(self):
        for entry in rows(self.store):
            if entry.status in ("pending", "sending"):
                assert entry.next_attempt_at is not None
            if entry.status == "success":
                assert entry.next_attempt_at is None

    @invariant()
    def there_is_an_open_attempt_exactly_while_something_is_being_sent(self):
        open_ones = defaultdict(int)
        for entry in rows(self.store, attempt):
            open_ones[entry.delivery_id] += entry.outcome is None
        for entry in rows(self.store):
            assert open_ones[entry.id] == (entry.status == "sending")

    @invariant()
    def every_attempt_is_counted_and_none_is_lost(self):
        numbers = defaultdict(list)
        for entry in rows(self.store, attempt):
            numbers[entry.delivery_id].append(entry.number)
        for entry in rows(self.store):
            assert numbers[entry.id] == list(range(1, entry.attempts + 1))
            assert entry.attempts == self.attempts[entry.id]
            assert 0 <= entry.attempts_before_resend <= entry.attempts
            assert 0 <= entry.schedule_step <= entry.attempts - entry.attempts_before_resend

    @invariant()
    def what_has_arrived_stays_so(self):
        status = {entry.id: entry.status for entry in rows(self.store)}
        assert all(status[entry] == "success" for entry in self.arrived)


def test_the_life_of_a_delivery_keeps_its_rules(store, long):
    examples = (1000 if long else 8) if store.is_sqlite else (300 if long else 4)
    run(lambda: DeliveryLife(store), settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))
