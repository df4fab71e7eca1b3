"""A log with a row of every kind, and the contents of a database for comparison."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import insert, select
from sqlmodel import SQLModel

from alertctl import preferences, users
from alertctl.db import Store, upgrade
from alertctl.db.copy import TABLES
from alertctl.db.copy_table import MARK, NOT_COPIED_COLUMNS
from alertctl.errors import Reason
from alertctl.publish import publish
from tests.support.deliveries import EMAIL, NOW, announce, arrived, claim, publication, record, refused

NAMED = {table.name: table for table in TABLES}
USERS, EVENT, EVENT_KEY, RUN = (NAMED[name] for name in ("users", "event", "event_key", "run"))
DELIVERY_COUNT = SQLModel.metadata.tables["delivery_count"]
STRANGE = "Zürich 東京 🚨 \u202e 'quoted\" %s :name \\x00 \r\n\t"


@contextmanager
def opened(url: str):
    store = Store(url)
    upgrade(store)
    yield store
    store.close()


def contents(store: Store) -> dict[str, list]:
    """Return every copied table's rows, without columns that each database counts for itself."""
    contents_by_table = {}
    for table in TABLES:
        columns = [column for column in table.columns if column.name not in NOT_COPIED_COLUMNS.get(table.name, ())]
        only = [RUN.c.job != MARK] if table is RUN else []
        with store.reading() as connection:
            contents_by_table[table.name] = sorted(map(repr, connection.execute(select(*columns).where(*only))))
    return contents_by_table


def totals(done) -> tuple[int, int, int]:
    return tuple(sum(getattr(table, name) for table in done.tables) for name in ("added", "changed", "removed"))


def add_person(store: Store, email: str) -> str:
    return store.write(lambda connection: users.add_user(connection, email, "admin", NOW)).id


def fill_every_table(store: Store) -> str:
    """Write a row of every kind into every table. Returns the id of a user who has preferences."""
    someone = add_person(store, "dev@corp.example")
    store.write(lambda connection: users.create_token(connection, someone, "viewer", timedelta(days=9), NOW))
    changes = {"slack_enabled": False, "slack_channel": "#dev", "notify_on_rollout_advance": True}
    store.write(lambda connection: preferences.update(connection, someone, changes, NOW))
    fields = {"title": STRANGE, "message": "x" * 3000, "details": {"größe": "1 \U0001f4be"}, "dedup_key": "disk"}
    keyed = publication(
        "generic_alert", fields, published_by="ci", idempotency_key=f"job {STRANGE!a}", labels={"team": "größe"}
    )
    store.write(lambda connection: publish(connection, keyed, NOW))
    announce(store, "slack:#ok", "slack:#limited", "email:a@corp.example", "slack:#waiting")
    claimed = {delivery.address: delivery for delivery in claim(store).taken}
    record(store, arrived(claimed["#ok"]), refused(claimed["#limited"], Reason.RATE_LIMITED, retry_after=30.0))
    record(store, refused(claim(store, EMAIL, limit=1).taken[0], Reason.BAD_ADDRESS, "550"), scope=EMAIL)
    odd = {"job": "prune", "period": "2026-03-02", "started_at": NOW + timedelta(microseconds=1)}
    store.write(lambda connection: connection.execute(insert(RUN), odd))
    thread = {
        "id": claimed["#ok"].delivery_id,
        "channel": "slack",
        "address_key": "#ok",
        "subject_key": "0" * 64,
        "claimed_at": NOW,
        "occurred_at": NOW,
        "ends_at": NOW + timedelta(days=14),
        "root_ts": "1700000000.000100",
    }
    store.write(lambda connection: connection.execute(insert(NAMED["thread"]), thread))
    return someone
