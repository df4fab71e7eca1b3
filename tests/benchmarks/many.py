"""Claims and the delivery log with very many rows, beside the same with few."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from alertctl import delivery_log, outbox
from alertctl.db import Store
from alertctl.outbox import ClaimScope
from alertctl.outbox.tables import delivery
from alertctl.schemas import LogFilter
from tests.benchmarks.databases import Database
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.sample_rows import sample_rows
from tests.benchmarks.setup import Setup, now

SAME = Bar(at_most=1.5)
CLAIM = 100
"""Deliveries in one claim."""
LEASE = 3600.0
DEPTH = 5000
"""The page that a cursor goes on from."""
SHORT_DEPTH = 20
"""The same in a log that has no page DEPTH."""
PAGE = 20
"""Rows of a page."""
Read = Callable[[Connection], Any]


def claim(setup: Setup) -> Iterator[Line]:
    """Claims of 100 with very many rows due, and with a very long log, in turns with few of both."""
    for database in setup.databases:
        few, long = _few(setup, database), _long(setup, database)
        with sample_rows(database, setup.report, waiting=setup.sizes.waiting) as waiting:
            yield from _claims(setup, database, few, waiting, long)


def log(setup: Setup) -> Iterator[Line]:
    """Pages of a very long log, in turns with those of a short one."""
    for database in setup.databases:
        long = _long(setup, database)
        with sample_rows(database, setup.report, history=setup.sizes.few) as short:
            yield from _pages(setup, database, short, long)


def _few(setup: Setup, database: Database) -> Store:
    return setup.kept(database, "few", history=setup.sizes.few, waiting=setup.sizes.few)


def _long(setup: Setup, database: Database) -> Store:
    """Return the log with a long history, made once for both rows: ten million rows take minutes."""
    return setup.kept(database, "long", history=setup.sizes.history, waiting=setup.sizes.few)


def _claims(setup: Setup, database: Database, few: Store, waiting: Store, long: Store) -> Iterator[Line]:
    setup.report(f"claim on {database.name}")
    _time_claim(few)
    _time_claim(waiting)
    _time_claim(long)
    looks = max(2, min(setup.sizes.looks, setup.sizes.few // CLAIM // 2 - 2))
    times = [(_time_claim(few), _time_claim(waiting), _time_claim(long)) for _ in range(looks)]
    against = f"{setup.sizes.few} rows"
    what = f"a claim of {CLAIM}, {setup.sizes.waiting} rows waiting"
    yield compared("claim", what, database.name, "ms", [(many, base) for base, many, _ in times], against, SAME)
    what = f"a claim of {CLAIM}, {setup.sizes.history} rows of history"
    yield compared("claim", what, database.name, "ms", [(old, base) for base, _, old in times], against, SAME)


def _time_claim(store: Store) -> float:
    """Return the milliseconds of one committed claim."""
    began = time.monotonic()
    result = store.write(
        lambda connection: outbox.claim(connection, ClaimScope("slack", "slack"), (CLAIM,) * 4, now(), LEASE)
    )
    took = time.monotonic() - began
    if len(result.taken) != CLAIM:
        raise RuntimeError(f"a claim found {len(result.taken)} of {CLAIM} deliveries")
    return 1000 * took


def _pages(setup: Setup, database: Database, short: Store, long: Store) -> Iterator[Line]:
    setup.report(f"log on {database.name}")
    reads: Sequence[tuple[str, Callable[[Store], Read]]] = (
        ("log page 1 with its total", lambda _: _page(LogFilter())),
        ("log --status failed", lambda _: _page(LogFilter(status="failed"))),
        ("log --status failed --event …", lambda _: _page(LogFilter(status="failed", event_type="safety_rollback"))),
        (f"log by cursor, page {DEPTH}", _deep),
    )
    for what, made in reads:
        there, here = made(long), made(short)
        _time_page(long, there)
        _time_page(short, here)
        times = [(_time_page(long, there), _time_page(short, here)) for _ in range(setup.sizes.looks)]
        shown = f"{what}, {setup.sizes.history} rows"
        yield compared("log", shown, database.name, "ms", times, f"{setup.sizes.few} rows", SAME)


def _page(where: LogFilter, cursor: str | None = None) -> Read:
    return lambda connection: delivery_log.page(connection, where, limit=PAGE, cursor=cursor)


def _deep(store: Store) -> Read:
    """Return the page after page DEPTH; in a shorter log, the page after page SHORT_DEPTH."""
    ids = select(delivery.c.id).order_by(delivery.c.id.desc())
    with store.reading() as connection:
        cursor = connection.execute(ids.offset(DEPTH * PAGE).limit(1)).scalar()
        if cursor is None:
            cursor = connection.execute(ids.offset(SHORT_DEPTH * PAGE).limit(1)).scalar_one()
    return _page(LogFilter(), cursor)


def _time_page(store: Store, read: Read) -> float:
    """Return the milliseconds of one page."""
    began = time.monotonic()
    with store.reading() as connection:
        page = read(connection)
    took = time.monotonic() - began
    if len(page.items) != PAGE:
        raise RuntimeError(f"a page has {len(page.items)} of {PAGE} rows")
    return 1000 * took
