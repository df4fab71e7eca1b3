"""POST /dispatch: wake the dispatcher and count the results."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select

from alertctl import delivery_log, outbox
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, Services, ServicesDep
from alertctl.delivery_log.tables import delivery
from alertctl.models import Status
from alertctl.schemas import DeliveryItem, LogFilter

router = APIRouter(prefix=BASE, tags=["status"])
MAX_WAIT = 30.0
"""Longest wait of one call in seconds: proxies close connections that are silent for longer."""
POLL_SECONDS = 0.1
"""Seconds between two queries."""
IDLE_SECONDS = 1.0
"""Seconds without a change after which the call stops waiting: the due deliveries wait for a pause or a daemon."""
BATCH = 500


class Dispatching(BaseModel):
    """Counts of deliveries attempted during the call, by result. `due`: some deliveries are still due."""

    attempted: int
    success: int
    retrying: int
    failed: int
    due: bool


@dataclass
class _Progress:
    """What has changed since a position in the delivery log."""

    position: str
    count: Counter[str] = field(default_factory=Counter)
    due: bool = True
    sending: bool = False
    last_news: float = field(default_factory=time.monotonic)

    @property
    def is_finished(self) -> bool:
        return not self.sending and (not self.due or time.monotonic() - self.last_news > IDLE_SECONDS)


@router.post("/dispatch")
async def dispatch(
    _caller: Developer,
    services: ServicesDep,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT, description="longest wait in seconds")] = 0.0,
) -> Dispatching:
    """Wake the daemon and wait until no delivery is due. The daemon also sends due deliveries without this call."""
    deadline = time.monotonic() + wait
    progress = await run_sync(_start, services)
    services.wake()
    while True:
        await run_sync(_update, services, progress)
        if progress.is_finished or time.monotonic() >= deadline:
            break
        await asyncio.sleep(POLL_SECONDS)
    count = progress.count
    return Dispatching(
        attempted=count.total(),
        success=count["success"],
        retrying=count["retrying"],
        failed=count["failed"],
        due=progress.due or progress.sending,
    )


def _start(services: Services) -> _Progress:
    with services.store.reading() as connection:
        return _Progress(delivery_log.position(connection))


def _update(services: Services, progress: _Progress) -> None:
    being_sent = select(delivery.c.id).where(delivery.c.status == Status.SENDING.value).limit(1)
    with services.store.reading() as connection:
        # Before the changes are read, so that a delivery that is being sent now is not missed.
        progress.due = outbox.is_due(connection, services.clock())
        progress.sending = connection.execute(being_sent).first() is not None
        number = BATCH
        while number == BATCH:
            news, progress.position = delivery_log.changes(connection, LogFilter(), progress.position, BATCH)
            progress.count.update(result for _, item in news if (result := _result(item)))
            number = len(news)
            progress.last_news = time.monotonic() if number else progress.last_news


def _result(item: DeliveryItem) -> str | None:
    if item.status == Status.FAILED:
        return "retrying" if item.next_attempt_at else "failed"
    return "success" if item.status == Status.SUCCESS else None
