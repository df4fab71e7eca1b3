"""Whatever happens to deliveries, in whatever order: what must always hold."""

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
from core.lab import NOW, SLACK, announce, arrived, claim, record, refused, rows


class Life(RuleBasedStateMachine):
    """Publishes, claims, ends, gives back and resends; several senders may hold the same delivery, one of them late."""

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
        for one in taken:
            assert one.attempt == self.attempts[one.delivery_id] + 1
            assert one.delivery_id not in self.arrived
            self.attempts[one.delivery_id] = one.attempt
        return multiple(*taken)

    @rule(claimed=consumes(held))
    def it_arrives(self, claimed):
        record(self.store, arrived(claimed), now=self.now)
        if claimed.attempt == self.attempts[claimed.delivery_id] and self._row(claimed).status == "success":
            self.arrived.add(claimed.delivery_id)

    @rule(claimed=consumes(held), reason=st.sampled_from(list(Reason)), whole=st.booleans())
    def it_fails(self, claimed, reason, whole):
        ended = refused(claimed, reason, "code", entire_provider=whole)
        record(self.store, ended, now=self.now)

    @rule(claimed=consumes(held))
    def it_is_given_back(self, claimed):
        before = self._row(claimed)
        self.store.write(lambda connection: outbox.release(connection, [claimed]))
        mine = before.status == "sending" and before.attempts == claimed.attempt
        self.attempts[claimed.delivery_id] -= mine

    @rule(claimed=held, again=st.booleans())
    def somebody_resends_it(self, claimed, again):
        ids = [claimed.delivery_id]
        (told,) = self.store.write(lambda connection: outbox.resend(connection, ids, "dev", self.now, again=again))
        if told.why_not is None:
            self.arrived.discard(claimed.delivery_id)

    def _row(self, claimed):
        (only,) = rows(self.store, id=claimed.delivery_id)
        return only

    @invariant()
    def final_and_only_final_deliveries_have_no_next_attempt(self):
        for one in rows(self.store):
            if one.status in ("pending", "sending"):
                assert one.next_attempt_at is not None
            if one.status == "success":
                assert one.next_attempt_at is None

    @invariant()
    def there_is_an_open_attempt_exactly_while_something_is_being_sent(self):
        open_ones = defaultdict(int)
        for one in rows(self.store, attempt):
            open_ones[one.delivery_id] += one.outcome is None
        for one in rows(self.store):
            assert open_ones[one.id] == (one.status == "sending")

    @invariant()
    def every_attempt_is_counted_and_none_is_lost(self):
        numbers = defaultdict(list)
        for one in rows(self.store, attempt):
            numbers[one.delivery_id].append(one.number)
        for one in rows(self.store):
            assert numbers[one.id] == list(range(1, one.attempts + 1))
            assert one.attempts == self.attempts[one.id]
            assert 0 <= one.round_start <= one.attempts
            assert 0 <= one.schedule_step <= one.attempts - one.round_start

    @invariant()
    def what_has_arrived_stays_so(self):
        status = {one.id: one.status for one in rows(self.store)}
        assert all(status[one] == "success" for one in self.arrived)


def test_the_life_of_a_delivery_keeps_its_rules(store, long):
    examples = (1000 if long else 20) if store.is_sqlite else (300 if long else 10)
    run(lambda: Life(store), settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))
