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
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.places import Place
from tests.benchmarks.stage import Stage, now
from tests.benchmarks.stock import stock

SAME = Bar(at_most=1.5)
CLAIM = 100
"""Deliveries of one claim."""
LEASE = 3600.0
DEPTH = 5000
"""The page that a cursor goes on from; where there are fewer rows, the page in their middle."""
PAGE = 20
Read = Callable[[Connection], Any]


def claim(stage: Stage) -> Iterator[Line]:
    """Claims of 100 with very many rows due, and with a very long log, in turns with few of both."""
    for place in stage.places:
        few, long = _few(stage, place), _long(stage, place)
        with stock(place, stage.say, waiting=stage.sizes.waiting) as waiting:
            yield from _claims(stage, place, few, waiting, long)


def log(stage: Stage) -> Iterator[Line]:
    """Pages of a very long log, in turns with those of a short one."""
    for place in stage.places:
        long = _long(stage, place)
        with stock(place, stage.say, history=stage.sizes.few) as short:
            yield from _pages(stage, place, short, long)


def _few(stage: Stage, place: Place) -> Store:
    return stage.kept(place, "few", history=stage.sizes.few, waiting=stage.sizes.few)


def _long(stage: Stage, place: Place) -> Store:
    """Made once for both rows: ten million take minutes."""
    return stage.kept(place, "long", history=stage.sizes.history, waiting=stage.sizes.few)


def _claims(stage: Stage, place: Place, few: Store, waiting: Store, long: Store) -> Iterator[Line]:
    stage.say(f"claim on {place.name}")
    _claimed(few)
    _claimed(waiting)
    _claimed(long)
    looks = max(2, min(stage.sizes.looks, stage.sizes.few // CLAIM // 2 - 2))
    times = [(_claimed(few), _claimed(waiting), _claimed(long)) for _ in range(looks)]
    against = f"{stage.sizes.few} rows"
    what = f"a claim of {CLAIM}, {stage.sizes.waiting} rows waiting"
    yield compared("claim", what, place.name, "ms", [(one[1], one[0]) for one in times], against, SAME)
    what = f"a claim of {CLAIM}, {stage.sizes.history} rows of history"
    yield compared("claim", what, place.name, "ms", [(one[2], one[0]) for one in times], against, SAME)


def _claimed(store: Store) -> float:
    """Milliseconds of one claim, committed."""
    began = time.monotonic()
    found = store.write(
        lambda connection: outbox.claim(connection, ClaimScope("slack", "slack"), (CLAIM,) * 4, now(), LEASE)
    )
    took = time.monotonic() - began
    if len(found.taken) != CLAIM:
        raise RuntimeError(f"a claim found {len(found.taken)} of {CLAIM} deliveries")
    return 1000 * took


def _pages(stage: Stage, place: Place, short: Store, long: Store) -> Iterator[Line]:
    stage.say(f"log on {place.name}")
    reads: Sequence[tuple[str, Callable[[Store], Read]]] = (
        ("log page 1 with its total", lambda _: _page(LogFilter())),
        ("log --status failed", lambda _: _page(LogFilter(status="failed"))),
        ("log --status failed --event …", lambda _: _page(LogFilter(status="failed", event_type="safety_rollback"))),
        (f"log by cursor, page {DEPTH}", _deep),
    )
    for what, made in reads:
        there, here = made(long), made(short)
        _looked(long, there)
        _looked(short, here)
        times = [(_looked(long, there), _looked(short, here)) for _ in range(stage.sizes.looks)]
        shown = f"{what}, {stage.sizes.history} rows"
        yield compared("log", shown, place.name, "ms", times, f"{stage.sizes.few} rows", SAME)


def _page(where: LogFilter, cursor: str | None = None) -> Read:
    return lambda connection: delivery_log.page(connection, where, limit=PAGE, cursor=cursor)


def _deep(store: Store) -> Read:
    """A page that begins behind row DEPTH * PAGE, or in the middle of a shorter log."""
    ids = select(delivery.c.id).order_by(delivery.c.id.desc())
    with store.reading() as connection:
        cursor = connection.execute(ids.offset(DEPTH * PAGE).limit(1)).scalar()
        if cursor is None:
            cursor = connection.execute(ids.offset(PAGE * PAGE).limit(1)).scalar_one()
    return _page(LogFilter(), cursor)


def _looked(store: Store, read: Read) -> float:
    """Milliseconds of one page."""
    began = time.monotonic()
    with store.reading() as connection:
        found = read(connection)
    took = time.monotonic() - began
    if len(found.items) != PAGE:
        raise RuntimeError(f"a page has {len(found.items)} of {PAGE} rows")
    return 1000 * took
