"""POST /test: one real message, and the truth about it."""

from __future__ import annotations

from typing import Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.errors import RETRY_SECONDS
from alertctl.api.request_body import Body, checked, described
from alertctl.channels import CHANNEL_NAMES

router = APIRouter(prefix=BASE, tags=["test"])
AT_ONCE = 8
"""Tests at once: each holds a thread for as long as its provider is silent, and other calls must get theirs."""


class _UnderWay:
    """How many tests there are."""

    number = 0


class ConnectivityTestRequest(BaseModel):
    """Which channel to try; `to` is an address on it, by default the platform's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    channel: Literal[*CHANNEL_NAMES]  # type: ignore[valid-type]
    to: str | None = Field(None, min_length=1, max_length=254)


class ConnectivityTestAnswer(BaseModel):
    """Whether it arrived; when it didn't, `message` has the provider's own reason."""

    success: bool
    message: str


@router.post("/test", response_model=ConnectivityTestAnswer, openapi_extra=described(ConnectivityTestRequest))
async def test(caller: Developer, services: ServicesDep, body: Body, response: Response) -> ConnectivityTestAnswer:
    """Send one test message and wait, for a bounded time, for how it went. It is in the log like any delivery.

    503 while several others wait for theirs.
    """
    asked = checked(ConnectivityTestRequest, body)
    if _UnderWay.number >= AT_ONCE:
        busy = f"{AT_ONCE} tests are under way already: try again in a moment"
        raise HTTPException(503, busy, {"Retry-After": str(RETRY_SECONDS)})
    _UnderWay.number += 1
    try:
        result = await run_sync(services.test, asked.channel, asked.to, caller.name)
    finally:
        _UnderWay.number -= 1
    response.headers["Content-Location"] = f"{BASE}/delivery-log/{result.delivery_id}"
    return ConnectivityTestAnswer(success=result.success, message=result.message)
