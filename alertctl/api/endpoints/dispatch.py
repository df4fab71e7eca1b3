"""POST /dispatch: wake the dispatcher and count the results."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from anyio.to_thread import run_sync
from fastapi import APIRouter
from sqlalchemy import select

from alertctl import delivery_log, outbox
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, Services, ServicesDep, Wait
from alertctl.api.endpoints.stream import start_position
from alertctl.delivery_log.tables import delivery
from alertctl.models import Status
from alertctl.schemas import DeliveryItem, Dispatched, LogFilter

router = APIRouter(prefix=BASE, tags=["status"])
POLL_SECONDS = 0.1
IDLE_SECONDS = 1.0
"""Seconds without a change after which the call stops waiting: the due deliveries wait for a pause or a daemon."""
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatching(Dispatched):
    """Counts of deliveries attempted during the call, by result. `due`: some deliveries are still due."""

    due: bool


@router.post("/dispatch")
async def dispatch(_caller: Developer, services: ServicesDep, wait: Wait = 0.0) -> Dispatching:
    """Wake the daemon; with `wait`, wait until no delivery is due. Due deliveries are also sent without this call."""
    deadline = time.monotonic() + wait
    position = await run_sync(start_position, services)
    services.wake()
    count: Counter[str] = Counter()
    last_news = time.monotonic()
    while True:
        due, sending, results, position = await run_sync(_read_changes, services, position)
        count.update(result for result in results if result)
        last_news = time.monotonic() if results else last_news
        is_finished = not sending and (not due or time.monotonic() - last_news > IDLE_SECONDS)
        if is_finished or time.monotonic() >= deadline or services.stopping():
            break
        await asyncio.sleep(POLL_SECONDS)
    return Dispatching(
        attempted=count.total(),
        success=count["success"],
        retrying=count["retrying"],
        failed=count["failed"],
        due=due or sending,
    )


def _read_changes(services: Services, position: str) -> tuple[bool, bool, list[str | None], str]:
    """Return whether deliveries are due and being sent, the results since a position, and the new position."""
    being_sent = select(delivery.c.id).where(delivery.c.status == Status.SENDING.value).limit(1)
    results: list[str | None] = []
    with services.store.reading() as connection:
        # Before the changes are read, so that a delivery that is being sent now is not missed.
        due = outbox.is_due(connection, services.clock())
        sending = connection.execute(being_sent).first() is not None
        while True:
            changes, position = delivery_log.changes(connection, LogFilter(), position, BATCH)
            results += [_result(item) for _, item in changes]
            if len(changes) < BATCH:
                return due, sending, results, position


def _result(item: DeliveryItem) -> str | None:
    if item.status == Status.FAILED:
        return "retrying" if item.next_attempt_at else "failed"
    return "success" if item.status == Status.SUCCESS else None
