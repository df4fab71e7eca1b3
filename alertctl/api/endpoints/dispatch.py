"""POST /dispatch: send what is due now, and say how it went."""

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
LONGEST = 30.0
"""Seconds that one call waits at most: proxies hang up on longer silence."""
LOOK = 0.1
"""Seconds between two looks into the database."""
QUIET = 1.0
"""Seconds without any news after which what is due waits for something else: a pause, or a daemon that sends."""
PART = 500


class Dispatching(BaseModel):
    """Deliveries that got a verdict meanwhile, by what it was. `due`: some still wait for nothing but a sender."""

    attempted: int
    success: int
    retrying: int
    failed: int
    due: bool


@dataclass
class _Watch:
    """What has happened since a place in the log's changes."""

    place: str
    count: Counter[str] = field(default_factory=Counter)
    due: bool = True
    sending: bool = False
    last_news: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        return not self.sending and (not self.due or time.monotonic() - self.last_news > QUIET)


@router.post("/dispatch")
async def dispatch(
    _caller: Developer,
    services: ServicesDep,
    wait: Annotated[float, Query(ge=0, le=LONGEST, description="seconds to wait at most")] = 0.0,
) -> Dispatching:
    """Wake the daemon, and wait until nothing that is due is left. It sends what is due without being asked, too."""
    deadline = time.monotonic() + wait
    watch = await run_sync(_begin, services)
    services.wake()
    while True:
        await run_sync(_look, services, watch)
        if watch.over or time.monotonic() >= deadline:
            break
        await asyncio.sleep(LOOK)
    count = watch.count
    return Dispatching(
        attempted=count.total(),
        success=count["success"],
        retrying=count["retrying"],
        failed=count["failed"],
        due=watch.due or watch.sending,
    )


def _begin(services: Services) -> _Watch:
    with services.store.reading() as connection:
        return _Watch(delivery_log.position(connection))


def _look(services: Services, watch: _Watch) -> None:
    being_sent = select(delivery.c.id).where(delivery.c.status == Status.SENDING.value).limit(1)
    with services.store.reading() as connection:
        # In this order: what is being sent now can't have been counted before.
        watch.due = outbox.is_due(connection, services.clock())
        watch.sending = connection.execute(being_sent).first() is not None
        found = PART
        while found == PART:
            news, watch.place = delivery_log.changes(connection, LogFilter(), watch.place, PART)
            watch.count.update(result for _, item in news if (result := _verdict(item)))
            found = len(news)
            watch.last_news = time.monotonic() if found else watch.last_news


def _verdict(item: DeliveryItem) -> str | None:
    if item.status == Status.FAILED:
        return "retrying" if item.next_attempt_at else "failed"
    return "success" if item.status == Status.SUCCESS else None
