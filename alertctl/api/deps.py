"""FastAPI dependencies: the services that the daemon creates for the routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import Depends, Query, Request

from alertctl.config import Settings
from alertctl.config.urls import ROUTES
from alertctl.db import Store, Writer
from alertctl.routing import RoutingRules
from alertctl.schemas import ConnectivityTestResult, EventReceipt

BASE = ROUTES
"""Prefix of every route except /healthz, /readyz, /metrics and /docs."""
MAX_WAIT = 30.0
"""Longest wait of one call in seconds: proxies close connections that are silent for longer."""
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="longest wait in seconds")]


class Wake(Protocol):
    """Wakes the dispatcher because something is due; `receipt` is the event, if it is known."""

    def __call__(self, receipt: EventReceipt | None = None) -> None: ...


@dataclass(frozen=True)
class Services:
    """Everything that the routes need.

    `jwt_settings` returns the settings with the secrets that JWT_SECRET_FILE and JWT_PUBLIC_KEY_FILE hold now.
    `test` sends one message (channel, address or None, the caller's name, whether to all default addresses) within a
    bounded time. `wake` wakes the
    dispatcher, `accepted` counts a recorded event. `readiness` maps each part of the daemon to `ok`, `off`, or what is
    wrong with it. `metrics` returns the Prometheus exposition. `stopping` is true while the daemon shuts down: open
    streams and waiting calls must end then.
    """

    settings: Settings
    jwt_settings: Callable[[], Settings]
    store: Store
    writer: Writer
    clock: Callable[[], datetime]
    rules: RoutingRules
    wake: Wake
    test: Callable[[str, str | None, str, bool], ConnectivityTestResult]
    readiness: Callable[[], Mapping[str, str]]
    metrics: Callable[[], bytes]
    accepted: Callable[[EventReceipt], None]
    stopping: Callable[[], bool]


async def get_services(request: Request) -> Services:
    # `async`, so that FastAPI calls it without a thread.
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]
