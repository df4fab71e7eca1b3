"""POST /test: send one test message and answer with its result."""

from __future__ import annotations

from typing import Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from alertctl.api.auth import Developer
from alertctl.api.deps import BASE, ServicesDep
from alertctl.api.errors import RETRY_SECONDS, problem_responses
from alertctl.api.request_body import Body, StrictBody, body_schema, parse_body
from alertctl.channels import CHANNEL_NAMES

router = APIRouter(prefix=BASE, tags=["test"])
MAX_RUNNING = 8
"""Tests that may run at once: each holds a thread until its provider answers, and other calls need threads too."""


class _RunningTests:
    """How many tests are running."""

    number = 0


class ConnectivityTestRequest(StrictBody):
    """The channel to test; `to` is an address on it, by default the channel's first default address, else the caller's.

    `all` sends to each of the channel's default addresses.
    """

    channel: Literal[*CHANNEL_NAMES]  # type: ignore[valid-type]
    to: str | None = Field(None, min_length=1, max_length=254)
    all: bool = False


class ConnectivityTestAnswer(BaseModel):
    """The result; if it failed, `message` has the provider's reason."""

    success: bool
    message: str


@router.post(
    "/test",
    responses=problem_responses(429),
    response_model=ConnectivityTestAnswer,
    openapi_extra=body_schema(ConnectivityTestRequest),
)
async def test(
    caller: Developer, services: ServicesDep, body: Body, request: Request, response: Response
) -> ConnectivityTestAnswer:
    """Send one test message and wait for its result. The delivery log records it like any delivery.

    503 while too many tests are running.
    """
    request.app.state.token_limit.check(caller)
    parsed = parse_body(ConnectivityTestRequest, body)
    if _RunningTests.number >= MAX_RUNNING:
        busy = f"{MAX_RUNNING} tests are already running; try again later"
        raise HTTPException(503, busy, {"Retry-After": str(RETRY_SECONDS)})
    _RunningTests.number += 1
    try:
        result = await run_sync(services.test, parsed.channel, parsed.to, caller.name, parsed.all)
    finally:
        _RunningTests.number -= 1
    response.headers["Content-Location"] = f"{BASE}/delivery-log/{result.delivery_id}"
    return ConnectivityTestAnswer(success=result.success, message=result.message)
