"""The kept counts equal the counted rows after any writes."""

from __future__ import annotations

import random
import threading

import pytest
from sqlalchemy import delete, func, select, text, update

from alertctl import delivery_log
from alertctl.delivery_log.pagination import total
from alertctl.delivery_log.tables import delivery_count
from alertctl.errors import Reason
from alertctl.outbox.tables import delivery
from alertctl.schemas import LogFilter
from tests.support.cases import each
from tests.support.deliveries import after, announce, arrived, claim, record, refused

KINDS = ("event_type", "channel", "status")


def count_rows(store) -> dict:
    columns = [delivery.c[name] for name in KINDS]
    with store.reading() as connection:
        result = connection.execute(select(*columns, func.count()).group_by(*columns)).all()
    return {tuple(row)[:3]: row[3] for row in result}


def kept_counts(store) -> dict:
    columns = [delivery_count.c[name] for name in KINDS]
    with store.reading() as connection:
        result = connection.execute(select(*columns, func.sum(delivery_count.c.number)).group_by(*columns)).all()
    return {tuple(row)[:3]: int(row[3]) for row in result if row[3]}


def write_randomly(store, seed: int, rounds: int) -> None:
    """Publish, deliver, fail, retry and prune at random, with transactions that are rolled back."""
    dice = random.Random(seed)
    own_rows = delivery.c.address.startswith(f"#{seed}-")
    for number in range(rounds):
        now = after(number)
        announce(store, *(f"slack:#{seed}-{number}-{index}" for index in range(dice.randrange(1, 6))), now=now)
        ends = (
            arrived,
            lambda entry: refused(entry, Reason.UNAVAILABLE),
            lambda entry: refused(entry, Reason.BAD_ADDRESS),
        )
        if taken := claim(store, limit=dice.randrange(1, 8), now=now).taken:
            record(store, *(dice.choice(ends)(entry) for entry in taken), now=now)
        with pytest.raises(ZeroDivisionError):
            store.write(lambda it: it.execute(update(delivery).where(own_rows).values(status="success")) and 1 / 0)
        if number % 5 == 4:
            store.write(lambda it: it.execute(delete(delivery).where(own_rows, delivery.c.status == "success")))


def test_counts_stay_exact_through_everything(store):
    write_randomly(store, 1, 30)
    assert kept_counts(store) == count_rows(store)
    assert sum(kept_counts(store).values()) > 0


def test_counts_stay_exact_with_many_writers(store):
    writers = [threading.Thread(target=write_randomly, args=(store, seed, 12)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert kept_counts(store) == count_rows(store)


MANY_CHANGES = """
DO $$ BEGIN FOR number IN 1..1200 LOOP
    UPDATE delivery SET status = CASE number % 2 WHEN 1 THEN 'success' ELSE 'pending' END;
END LOOP; END $$
"""
"""1200 statements without a round trip for each."""


def test_the_counts_rows_stay_few(store):
    if store.is_sqlite:
        announce(store, *(f"slack:#{number}" for number in range(500)))
        limit = 20
    else:
        announce(store, "slack:#a")
        store.write(lambda connection: connection.execute(text(MANY_CHANGES)))
        # Each change adds two rows; one statement in a hundred replaces them by their sums.
        limit = 2200
    with store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(delivery_count)).scalar_one() < limit


@each(
    "where",
    [
        {},
        {"status": "failed"},
        {"channel": "slack"},
        {"event_type": "generic_alert"},
        {"status": "pending", "channel": "email"},
        {"to": "#1-0-0"},
        {"status": "failed", "to": "#1-0-0"},
        {"retrying": True},
    ],
)
def test_a_total_is_exact(store, where):
    write_randomly(store, 1, 8)
    log_filter = LogFilter(**where)
    with store.reading() as connection:
        shown = delivery_log.page(connection, log_filter, limit=1000)
        assert total(connection, log_filter) == shown.total == len(shown.items)


def test_stats_count_deliveries_by_status(store):
    announce(store, *(f"slack:#{number}" for number in range(4)), "email:a@corp.example")
    first, second, third = claim(store, limit=3).taken
    unavailable, gone = refused(second, Reason.UNAVAILABLE, "http_503"), refused(third, Reason.BAD_ADDRESS, "gone")
    record(store, arrived(first), unavailable, gone)
    with store.reading() as connection:
        by_channel = delivery_log.stats(connection, LogFilter(), "channel")
        by_error = delivery_log.stats(connection, LogFilter(), "error")
    assert [
        (entry.key, entry.total, entry.success, entry.failed, entry.retrying, entry.waiting)
        for entry in by_channel.items
    ] == [
        ("slack", 4, 1, 1, 1, 1),
        ("email", 1, 0, 0, 0, 1),
    ]
    assert by_channel.total.total == 5
    assert [(entry.key, entry.total) for entry in by_error.items] == [("gone", 1), ("http_503", 1)]
