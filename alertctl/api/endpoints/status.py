"""GET /status: the daemon's state, for `alertctl status`."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter

from alertctl import delivery_log
from alertctl.addresses import masked
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.schemas import Paused, StatusReport
from alertctl.users import Role

router = APIRouter(prefix=BASE, tags=["status"])


@router.get("/status")
def status(caller: Developer, services: ServicesDep) -> StatusReport:
    """Return version, queue depth and age, last success of each channel, and paused providers."""
    where = f"database {services.store.shown}"
    enabled = services.rules.enabled
    report = services.store.read(delivery_log.status_report, where, services.clock(), enabled, daemon=True)
    if caller.role is Role.ADMIN:
        return report
    return replace(report, paused=[_masked(pause) for pause in report.paused])


def _masked(pause: Paused) -> Paused:
    """Return the pause with its address masked, which may be one that a user chose."""
    return replace(pause, to=masked(pause.to)) if pause.to else pause
