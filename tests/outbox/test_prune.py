"""Old, final deliveries leave the log, and nothing else does."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import insert, select

from alertctl import outbox
from alertctl.daemon.scheduler import SchedulerHeartbeat, schedule
from alertctl.db import Store
from alertctl.errors import Reason, Unreachable
from alertctl.ids import first_id, new_id
from alertctl.models import Status
from alertctl.outbox.tables import TABLES, delivery, pauses, person
from tests.support.deliveries import SLACK, announce, arrived, claim, dispatching, record, refused, rows, settings_for

DAY = 86_400.0
KEEP = {Status.SUCCESS: 30, Status.FAILED: 90, Status.SUPPRESSED: 30}


def deliver(store, address: str, now: datetime, result=arrived) -> None:
    announce(store, f"slack:{address}", now=now)
    (claimed,) = claim(store, SLACK, now=now).taken
    record(store, result(claimed), now=now)


def prune_after(store, days: float, start: datetime) -> int:
    return outbox.prune(store, KEEP, start + timedelta(days=days))


def test_an_id_begins_with_its_time(start):
    assert first_id(start) <= new_id(start) < first_id(start + timedelta(seconds=60))


def test_prune_takes_what_is_older_than_its_status_may_get(store, start):
    deliver(store, "#arrived", start)
    deliver(store, "#missing", start, lambda entry: refused(entry, Reason.BAD_ADDRESS))
    assert prune_after(store, 29, start) == 0
    assert prune_after(store, 31, start) == 1
    assert [entry.address for entry in rows(store)] == ["#missing"]
    assert prune_after(store, 91, start) == 1


def test_prune_takes_attempts_and_emptied_events_along(store, start):
    deliver(store, "#arrived", start)
    prune_after(store, 31, start)
    assert [rows(store, TABLES[name]) for name in ("attempt", "delivery", "event")] == [[], [], []]


def test_prune_leaves_what_is_still_to_be_sent_however_old(store, start):
    deliver(store, "#waiting", start, lambda entry: refused(entry, Reason.UNAVAILABLE))
    announce(store, "slack:#due", now=start)
    assert prune_after(store, 1000, start) == 0
    assert len(rows(store, TABLES["event"])) == 2


def test_prune_leaves_what_is_young(store, start):
    deliver(store, "#old", start)
    deliver(store, "#young", start + timedelta(days=20))
    assert prune_after(store, 31, start) == 1
    assert [entry.address for entry in rows(store)] == ["#young"]


def test_prune_works_in_batches_and_counts_them_all(store, start):
    event_id = announce(store, "slack:#first", now=start)
    (entry,) = rows(store)
    final = {"status": "success", "next_attempt_at": None, "event_id": event_id}
    more = [
        {**entry._mapping, **final, "id": new_id(start), "address_key": f"#channel-{number}"} for number in range(2_100)
    ]
    store.write(lambda connection: connection.execute(insert(delivery), more))
    assert prune_after(store, 31, start) == 2_100
    with store.reading() as connection:
        assert connection.execute(select(delivery.c.address)).scalars().all() == ["#first"]


def test_prune_forgets_pauses_that_ended_long_ago(store, start):
    row = {"provider": "slack", "reason": "rate_limited", "code": "ratelimited", "since": start}
    ended = row | {"address_key": "#ended", "until": start + timedelta(seconds=30)}
    open_one = row | {"address_key": "#open", "until": start + timedelta(days=50)}
    store.write(lambda connection: connection.execute(insert(pauses), [ended, open_one]))
    prune_after(store, 31, start)
    assert [entry.address_key for entry in rows(store, pauses)] == ["#open"]


class _Flaky:
    """A database that goes away behind the first transaction, and comes back."""

    def __init__(self, store: Store) -> None:
        self._store, self.remaining = store, 1

    def write(self, work, *values, **options):
        if self.remaining == 0:
            raise Unreachable("away")
        self.remaining -= 1
        return self._store.write(work, *values, **options)


def test_a_prune_that_broke_off_is_taken_up_the_same_day(store, sandbox, database_url, clock):
    deliver(store, "#old", clock())
    settings, connect = settings_for(sandbox, database_url), _Flaky(store)
    with dispatching(store, settings, clock) as dispatcher:
        heartbeat = SchedulerHeartbeat()
        scheduler = schedule(settings, connect, dispatcher, heartbeat, clock, lambda: True, lambda count: None)
        prune = scheduler.get_job("prune").func
        clock.advance(1000 * 86400)
        prune()
        assert len(rows(store)) == 1
        connect.remaining = 100
        prune()
    assert rows(store) == []


def test_prune_forgets_people_who_were_looked_up_thirty_days_ago(store, start):
    looked_up = [{"channel": "slack", "email_key": f"{n}@corp.example", "looked_up_at": start} for n in range(1_001)]
    young = {"channel": "slack", "email_key": "young@corp.example", "looked_up_at": start + timedelta(days=1)}
    store.write(lambda connection: connection.execute(insert(person), [*looked_up, young]))
    prune_after(store, 30, start)
    assert len(rows(store, person)) == 1_002
    prune_after(store, 30.5, start)
    assert [entry.email_key for entry in rows(store, person)] == ["young@corp.example"]
