"""How this daemon stands: what `alertctl status` asks a server."""

from __future__ import annotations

from fastapi import APIRouter

from alertctl import delivery_log
from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, Here
from alertctl.schemas import Standing

router = APIRouter(prefix=BASE, tags=["status"])


@router.get("/status")
def status(_caller: Developer, here: Here) -> Standing:
    """Version, what waits and for how long, when each channel last delivered, and what is left alone."""
    with here.store.reading() as connection:
        return delivery_log.standing(connection, f"database {here.store.shown}", here.clock(), daemon=True)
