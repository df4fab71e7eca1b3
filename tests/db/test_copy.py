"""`alertctl db copy` copies every row once, also when it is interrupted or repeated."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, update
from sqlmodel import SQLModel

from alertctl import outbox, preferences, users
from alertctl.db import Store
from alertctl.db.copy import NOT_COPIED, TABLES, copy
from alertctl.db.copy_table import BATCH, BATCH_CHARACTERS, NOT_COPIED_COLUMNS, batches
from alertctl.errors import ConfigError
from alertctl.ids import new_id
from alertctl.models import Status
from alertctl.outbox.tables import attempt, delivery, pauses, thread
from tests.support import cli_process
from tests.support.database_contents import (
    DELIVERY_COUNT,
    EVENT,
    EVENT_KEY,
    NAMED,
    USERS,
    add_person,
    contents,
    fill_every_table,
    totals,
)
from tests.support.deliveries import NOW, after, announce, arrived, claim, claim_one, record, rows


def test_every_table_is_either_copied_or_has_a_reason_not_to_be():
    assert {*NAMED, *NOT_COPIED} == set(SQLModel.metadata.tables)
    assert not set(NAMED) & set(NOT_COPIED)
    assert all(set(names) <= set(NAMED[table].columns.keys()) for table, names in NOT_COPIED_COLUMNS.items())


def test_everything_arrives_as_it_was(store, target):
    fill_every_table(store)
    done = copy(store, target, NOW)
    assert done.is_complete
    assert {entry.table for entry in done.tables if entry.source} == set(NAMED)
    assert contents(target) == contents(store)
    assert {entry.change for entry in rows(target)} == {0}


def test_a_second_run_finds_nothing_to_do(store, target):
    fill_every_table(store)
    first = totals(copy(store, target, NOW))
    done = copy(store, target, after(60))
    assert done.is_complete
    assert (first[0] > 0, totals(done)) == (True, (0, 0, 0))


def test_a_second_run_brings_what_has_changed_and_takes_what_is_gone(store, target):
    someone = fill_every_table(store)
    store.write(lambda connection: users.add_user(connection, "admin@corp.example", "admin", NOW))
    copy(store, target, NOW)
    announce(store, "slack:#new", now=after(60))
    store.write(lambda connection: preferences.reset(connection, someone, after(60)))
    store.write(lambda connection: users.change_user(connection, someone, disabled=True))
    for claimed in claim(store, now=after(60)).taken:
        record(store, arrived(claimed), now=after(61))
    store.write(lambda connection: connection.execute(pauses.delete()))
    done = {entry.table: (entry.added, entry.changed, entry.removed) for entry in copy(store, target, after(90)).tables}
    assert contents(target) == contents(store)
    assert (done["preference"], done["event_preference"], done["users"]) == ((0, 1, 0), (0, 0, 1), (0, 1, 0))
    assert done["event"] == (1, 0, 0)
    assert done["delivery"][0] == 1
    assert done["delivery"][1] >= 2
    assert done["pause"] == (0, 0, 1)


def test_a_thread_that_another_one_followed_follows_in_the_copy_too(store, target):
    fill_every_table(store)
    copy(store, target, NOW)
    store.write(
        lambda connection: connection.execute(update(thread).values(id=new_id(NOW), root_ts="1700000001.000100"))
    )
    copy(store, target, NOW)
    assert contents(target) == contents(store)


def test_emails_and_identities_that_moved_on_between_users_move_in_the_copy_too(store, target):
    first, second = add_person(store, "a@corp.example"), add_person(store, "b@corp.example")
    for subject, user in (("s-1", first), ("s-2", second)):
        identify(store, user, subject)
    copy(store, target, NOW)
    # Both ways round, so that the order in which rows are written can't be the right one.
    for user, email in ((first, "c@corp.example"), (second, "a@corp.example"), (first, "b@corp.example")):
        store.write(lambda connection, user=user, email=email: users.change_user(connection, user, email=email))
    for user, subject in ((first, None), (second, "s-1"), (first, "s-2")):
        identify(store, user, subject)
    third = add_person(store, "d@corp.example")
    store.write(lambda connection: users.change_user(connection, second, email="e@corp.example"))
    store.write(lambda connection: users.change_user(connection, third, email="a@corp.example"))
    assert copy(store, target, NOW).is_complete
    assert contents(target) == contents(store)


def identify(store: Store, user: str, subject: str | None) -> None:
    """Give a user this identity."""
    row = update(USERS).where(USERS.c.id == user).values(issuer=subject and "https://id.example", subject=subject)
    store.write(lambda connection: connection.execute(row))


def test_a_user_who_was_removed_is_removed_from_the_copy_by_hand(store, target):
    someone = fill_every_table(store)
    add_person(store, "ops@corp.example")
    copy(store, target, NOW)
    store.write(lambda connection: users.remove_user(connection, someone))
    with pytest.raises(ConfigError, match=f"id {someone}.; if that user was removed since, run alertctl user remove"):
        copy(store, target, NOW)
    target.write(lambda connection: users.remove_user(connection, someone))
    assert copy(store, target, NOW).is_complete
    assert contents(target) == contents(store)


def test_the_target_has_its_own_delivery_counts(store, other):
    fill_every_table(store)
    copy(store, other, NOW)
    for claimed in claim(store, now=after(60)).taken:
        record(store, arrived(claimed), now=after(61))
    store.write(lambda connection: connection.execute(delivery.delete().where(delivery.c.channel == "email")))
    copy(store, other, after(90))
    kinds = (DELIVERY_COUNT.c.channel, DELIVERY_COUNT.c.status, func.sum(DELIVERY_COUNT.c.number))
    with other.reading() as connection:
        counted = [row for row in connection.execute(select(*kinds).group_by(*kinds[:2])) if row[2]]
        kinds = (delivery.c.channel, delivery.c.status)
        there = connection.execute(select(*kinds, func.count()).group_by(*kinds)).all()
    assert sorted(counted) == sorted(there) != []


def test_rows_pruned_between_two_copies_are_pruned_in_the_target(store, other):
    fill_every_table(store)
    copy(store, other, NOW)
    # Ids only grow within a process: those of NOW may be as late as another test's.
    much_later = NOW + timedelta(days=9000)
    assert outbox.prune(store, dict.fromkeys((Status.SUCCESS, Status.FAILED), 1), much_later) > 0
    done = copy(store, other, much_later)
    assert done.is_complete
    assert totals(done)[2] > 0
    assert contents(other) == contents(store)


def test_due_deliveries_are_due_in_the_target(store, other):
    announce(store, "slack:#waits")
    copy(store, other, NOW)
    record(other, arrived(claim_one(other)))
    assert [(entry.status, entry.attempts) for entry in rows(other)] == [("success", 1)]


def test_values_of_a_megabyte_survive_and_no_batch_holds_many_of_them(store, other):
    stored = [{"message": f"{number}" * 1_000_000} for number in range(9)] * 3
    fresh = [
        {**dict.fromkeys(("occurred_at", "created_at"), NOW), "event_type": "generic_alert", "severity": "info"}
        | {"id": new_id(NOW), "fields": str(fields)}
        for fields in stored
    ]
    store.write(lambda connection: connection.execute(insert(EVENT), fresh))
    with store.reading() as connection:
        at = [column.name for column in EVENT.columns].index("fields")
        sizes = [sum(len(row[at]) for row in batch) for batch in batches(connection, EVENT)]
    assert max(sizes) < BATCH_CHARACTERS + 1_100_000
    assert len(sizes) >= 3
    assert copy(store, other, NOW).is_complete
    assert contents(other)["event"] == contents(store)["event"]


def test_keys_that_the_databases_sort_differently_are_neither_lost_nor_doubled(store, other):
    event_id = announce(store, "slack:#a")
    dice = random.Random(5)
    letters = "aAbBzZ-_ .éÉß0193"
    keys = {"".join(dice.choices(letters, k=9)) for _ in range(2 * BATCH + 300)}
    fresh = [
        {"scope": dice.choice(["a", "A", "-b"]), "key": key, "event_id": event_id, "body_hash": "d", "created_at": NOW}
        for key in keys
    ]
    store.write(lambda connection: connection.execute(insert(EVENT_KEY), fresh))
    assert copy(store, other, NOW).is_complete
    store.write(lambda connection: connection.execute(EVENT_KEY.delete().where(EVENT_KEY.c.key < "Z")))
    done = copy(store, other, NOW)
    assert done.is_complete
    assert totals(done)[:2] == (0, 0)
    assert totals(done)[2] > 0
    assert contents(other)["event_key"] == contents(store)["event_key"]


def test_nul_becomes_a_replacement_character_on_postgres_only(lite, target):
    announce(lite, "slack:#a")
    lite.write(lambda connection: connection.execute(update(EVENT).values(fields="a\0b", published_by="x" * 300)))
    done = copy(lite, target, NOW)
    assert done.is_complete
    fields = [(entry.fields, len(entry.published_by)) for entry in rows(target, EVENT)]
    assert fields == ([("a\0b", 300)] if target.is_sqlite else [("a\ufffdb", 254)])
    assert sum(entry.replaced for entry in done.tables) == (0 if target.is_sqlite else 2)
    assert totals(copy(lite, target, NOW)) == (0, 0, 0)


# --- somebody works while it is copied ---


def test_events_published_meanwhile_are_reported_and_copied_by_the_next_run(store, other):
    announce(store, *(f"slack:#channel-{number}" for number in range(50)))
    published: list[str] = []

    def publish_once(table: str, done: int, _all: int) -> None:
        if table == "event" and done and not published:
            published.append(announce(store, "slack:#late", now=after(1)))

    first = copy(store, other, NOW, publish_once)
    assert published
    assert (first.moved, first.is_complete) == (True, False)
    assert [(entry.source, entry.target) for entry in first.tables if entry.table == "event"] == [(1, 1)], (
        "one moment's rows"
    )
    second = copy(store, other, after(2))
    assert second.is_complete
    assert contents(other) == contents(store)


def test_deliveries_that_are_being_sent_are_counted(store, other):
    announce(store, "slack:#a", "slack:#b")
    claim(store, limit=1)
    assert copy(store, other, NOW).sending == 1
    assert copy(store, other, after(3600)).sending == 0


def test_two_copies_at_once_end_in_one(lite, target):
    for number in range(3):
        announce(lite, *(f"slack:#channel-{number}-{other}" for other in range(400)))
    stores = [Store(lite.url.render_as_string(False)), Store(target.url.render_as_string(False))]
    other = threading.Thread(target=lambda: copy(*stores, NOW))
    other.start()
    copy(lite, target, NOW)
    other.join(60)
    for entry in stores:
        entry.close()
    assert copy(lite, target, NOW).is_complete
    assert contents(target) == contents(lite)


KILLED = """
import sys
from datetime import UTC, datetime
from alertctl.db import Store
from alertctl.db.copy import copy
def advance(table, done, total):
    print(table, done, flush=True)
copy(Store(sys.argv[1]), Store(sys.argv[2]), datetime.now(UTC), advance)
"""


@pytest.mark.parametrize("moment", ["event 1000", pytest.param("delivery 2000", marks=pytest.mark.long)])
def test_killed_in_mid_copy_the_next_run_goes_on(lite, target, moment, long):
    many(lite, 30_000 if long else 2_200)
    urls = [store.url.render_as_string(hide_password=False) for store in (lite, target)]
    with cli_process.Popen([sys.executable, "-c", KILLED, *urls], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == moment:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    with target.reading() as connection:
        there = sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES)
    done = copy(lite, target, NOW)
    assert done.is_complete
    assert 0 < totals(done)[0] <= sum(entry.source for entry in done.tables) - (there - 1), (
        "the mark is not a row of its own"
    )
    assert totals(done)[1:] == (0, 0)
    assert contents(target) == contents(lite)


def many(store: Store, count: int) -> None:
    """So many events, each with a delivery and an attempt."""
    ids = [(new_id(NOW), new_id(NOW)) for _ in range(count)]
    times = {"created_at": NOW, "occurred_at": NOW}
    events = [
        {"id": entry, "event_type": "generic_alert", "severity": "info", "fields": "{}", **times} for entry, _ in ids
    ]
    same = {
        "event_type": "generic_alert",
        "channel": "slack",
        "address": "#a",
        "address_key": "#a",
        "routing_reason": "caller",
    }
    state = {"status": "success", "priority": 1, "queued_at": NOW, "created_at": NOW, "updated_at": NOW}
    deliveries = [{"id": two, "event_id": entry, **same, **state} for entry, two in ids]
    attempts = [{"delivery_id": two, "number": 1, "provider": "slack", "started_at": NOW} for _, two in ids]
    for table, fresh in ((EVENT, events), (delivery, deliveries), (attempt, attempts)):
        store.write(lambda connection, table=table, fresh=fresh: connection.execute(insert(table), fresh))
