"""POST /test: one real message, and the truth about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alertctl.api.access import Developer
from alertctl.api.bodies import json_object
from alertctl.api.problems import rejected
from alertctl.api.services import BASE, Here

router = APIRouter(prefix=BASE, tags=["test"])


class TestRequest(BaseModel):
    """Which channel to try; `to` is an address on it, by default the platform's own."""

    __test__ = False
    model_config = ConfigDict(extra="forbid", strict=True)

    channel: Literal["slack", "email"]
    to: str | None = Field(None, min_length=1, max_length=254)


class TestAnswer(BaseModel):
    """Whether it arrived; when it didn't, `message` has the provider's own reason."""

    __test__ = False
    success: bool
    message: str


BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": TestRequest.model_json_schema()}}}}


@router.post("/test", response_model=TestAnswer, openapi_extra=BODY)
def test(
    caller: Developer, here: Here, body: Annotated[dict[str, Any], Depends(json_object)], response: Response
) -> TestAnswer:
    """Send one test message and wait, for a bounded time, for how it went. It is in the log like any delivery."""
    try:
        asked = TestRequest.model_validate(body)
    except ValidationError as error:
        raise rejected(error) from None
    result = here.test(asked.channel, asked.to, caller.email)
    response.headers["Content-Location"] = f"{BASE}/delivery-log/{result.delivery_id}"
    return TestAnswer(success=result.success, message=result.message)
