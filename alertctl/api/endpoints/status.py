"""GET /status: the daemon's state, for `alertctl status`."""

from __future__ import annotations

from fastapi import APIRouter

from alertctl import delivery_log
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.schemas import StatusReport

router = APIRouter(prefix=BASE, tags=["status"])


@router.get("/status")
def status(_caller: Developer, services: ServicesDep) -> StatusReport:
    """Return version, queue depth and age, last success of each channel, and paused providers."""
    where = f"database {services.store.shown}"
    return services.store.read(delivery_log.status_report, where, services.clock(), services.rules.enabled, daemon=True)
