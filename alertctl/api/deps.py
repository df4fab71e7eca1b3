"""What the routes work with; the composition root fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import Depends, Request

from alertctl.config import Settings
from alertctl.db import Store, Writer
from alertctl.routing import Audience
from alertctl.schemas import ConnectivityTestResult, EventReceipt

BASE = "/api/v1/notifications"
"""Where every route lies but those of the process itself (/healthz, /readyz, /metrics, /docs)."""


def _unheard(_receipt: EventReceipt) -> None:
    pass


class Wake(Protocol):
    """Tells the dispatcher that something is due, and which event it is, if that is known."""

    def __call__(self, receipt: EventReceipt | None = None) -> None: ...


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Services:
    """`test` sends one message (channel, address or None, who asked) and is bounded in time.

    `wake` tells the dispatcher that something is due, `accepted` counts what was recorded. `readiness` names each part
    that must be well with `ok`, `off`, or what is wrong. `metrics` is the Prometheus exposition. `stopping` says that
    the daemon ends: whatever lasts as long as its client likes must end too.
    """

    settings: Settings
    store: Store
    writer: Writer
    clock: Callable[[], datetime]
    audience: Audience
    wake: Wake
    test: Callable[[str, str | None, str], ConnectivityTestResult]
    readiness: Callable[[], Mapping[str, str]]
    metrics: Callable[[], bytes]
    accepted: Callable[[EventReceipt], None] = _unheard
    stopping: Callable[[], bool] = _never


async def services_of(request: Request) -> Services:
    # `async`, so that it costs no trip to a thread.
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
