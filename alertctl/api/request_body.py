"""Read and check request bodies: bounded JSON, read only after the caller is authorized."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alertctl.api.errors import request_error
from alertctl.errors import InvalidEvent

LIMIT = 1024 * 1024
"""Largest body in bytes."""
TOO_LARGE = "The body is larger than 1 MB; shorten it, or link to the details."


class BodyLimit:
    """ASGI middleware that answers 413 to a body above the limit, with or without a Content-Length."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LIMIT:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self._app(scope, receive_bounded, send)


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object. Raises HTTPException (400 for invalid JSON, 413) or InvalidEvent."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > LIMIT:
        raise HTTPException(413, TOO_LARGE)
    try:
        body = await request.body()
        value = _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except ClientDisconnect:
        # The client is gone. This answer keeps the disconnect out of the daemon's error log.
        raise HTTPException(400, "The connection ended before the end of the body.") from None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {_why(error)}") from None
    if not isinstance(value, dict):
        raise InvalidEvent("body", 'should be a JSON object: {"name": value, …}')
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_JSON = json.JSONDecoder(parse_constant=_no_constant)
"""Created once: `json.loads` with these options creates a decoder for each body."""


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200]


Body = Annotated[dict[str, Any], Depends(json_object)]
"""A body that is read after the caller is authorized; FastAPI would read a body parameter before that."""
Model = TypeVar("Model", bound=BaseModel)


def parse_body(model: type[Model], body: Mapping[str, Any]) -> Model:
    """Return the body as its model. Raises RequestValidationError, which names each wrong field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise request_error(error) from None


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a route's `openapi_extra` that describes its body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}
