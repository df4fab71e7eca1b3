"""One event to very many recipients, beside the bare INSERT of as many rows."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import insert
from sqlmodel import SQLModel

from alertctl.db import Store
from alertctl.ids import new_id
from alertctl.models import User
from alertctl.outbox.tables import delivery
from alertctl.publish import event, prepare, publish
from alertctl.schemas import PublishRequest
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.setup import RULES, Setup, now

RATE = Bar(at_most=3)
MEMORY = Bar(at_most=1)
users = SQLModel.metadata.tables[str(User.__tablename__)]


def recipients(setup: Setup) -> Iterator[Line]:
    """Publish an event that all users want, then insert the same rows with the driver alone."""
    for database in setup.databases:
        with database.fresh() as url, closing(Store(url)) as store:
            count = setup.sizes.recipients
            _add_users(store, count)
            measured = []
            for number in range(setup.sizes.rounds):
                setup.report(f"recipients on {database.name}, round {number + 1} of {setup.sizes.rounds}")
                ours, event_id = _time_publish(store)
                measured.append((1000 * ours, 1000 * _time_insert(store, event_id)))
            yield from _lines(database, count, measured, store)


def _lines(database: Database, count: int, measured: Sequence[tuple[float, float]], store: Store) -> Iterator[Line]:
    what = f"publishing one event to {count} recipients"
    yield compared("recipients", what, database.name, "ms", measured, "INSERT by the driver", RATE)
    _, event_id = _time_publish(store)
    ours, rows = _peak(lambda: _time_publish(store)), _peak(lambda: _copy_rows(store, event_id))
    yield Line(
        row="recipients",
        what="the same, peak of Python's memory",
        database=database.name,
        value=ours,
        unit="MB",
        yardstick=rows,
        against="its rows in a list",
        bar=MEMORY,
        note=f"{1e6 * ours / count:,.0f} bytes a recipient",
    )


def _add_users(store: Store, count: int) -> None:
    moment = now()
    rows = [
        {"id": new_id(moment), "email": f"user{n}@corp.example", "role": "viewer", "created_at": moment}
        for n in range(count)
    ]
    store.write(lambda connection: connection.execute(insert(users), rows))


def _time_publish(store: Store) -> tuple[float, str]:
    """Return the seconds of publishing, and the event's id."""
    fields = {"experiment": "new-cta", "action": "started"}
    publication = prepare(PublishRequest(event_type="experiment_lifecycle", fields=fields), RULES)
    began = time.monotonic()
    answer = store.write(lambda connection: publish(connection, publication, now()))
    return time.monotonic() - began, answer.event_id


def _peak(work: Callable[[], object]) -> float:
    """Return the megabytes of Python objects that `work` holds at most."""
    tracemalloc.start()
    held = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del held
    return peak / 1e6


def _time_insert(store: Store, event_id: str) -> float:
    """Return the seconds for inserting the same rows under another event, in one transaction of the driver."""
    rows = _copy_rows(store, event_id)
    raw = store.engine.raw_connection()
    try:
        cursor = raw.cursor()
        began = time.monotonic()
        if store.is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
        # On Postgres psycopg pipelines these: measured twice as fast as VALUES of many rows, or unnest.
        cursor.executemany(_statement("?" if store.is_sqlite else "%s"), rows)
        raw.commit()
        return time.monotonic() - began
    finally:
        raw.close()


def _statement(mark: str) -> str:
    columns = [column.name for column in delivery.c]
    return f"INSERT INTO delivery ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"


def _copy_rows(store: Store, event_id: str) -> list[tuple[Any, ...]]:
    """Return the event's deliveries as rows of the driver, with new ids and another event."""
    moment = now()
    other = new_id(moment)
    rest = ", ".join(column.name for column in event.c if column.name != "id")
    columns = ", ".join(column.name for column in delivery.c)
    with store.writing() as connection:
        twin = f"INSERT INTO event (id, {rest}) SELECT '{other}', {rest} FROM event WHERE id = '{event_id}'"
        connection.exec_driver_sql(twin)
        rows = connection.exec_driver_sql(f"SELECT {columns} FROM delivery WHERE event_id = '{event_id}'").all()
    own = {"id": lambda: new_id(moment), "event_id": lambda: other}
    names = [column.name for column in delivery.c]
    return [tuple(own[n]() if n in own else value for n, value in zip(names, row, strict=True)) for row in rows]
