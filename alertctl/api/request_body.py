"""Bodies of requests: bounded, JSON, read once, and only after the caller may call at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alertctl.api.errors import rejected
from alertctl.errors import InvalidEvent

LIMIT = 1024 * 1024
"""Bytes of a body that are read."""
TOO_LARGE = "The body is larger than 1 MB: alerts are short; link to what is long."


class BodyLimit:
    """ASGI middleware: 413 for a body above the limit, whether its length was announced or not."""

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
    """The body as a JSON object. Raises HTTPException (400 no JSON, 413) or InvalidEvent."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > LIMIT:
        raise HTTPException(413, TOO_LARGE)
    try:
        body = await request.body()
        value = _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except ClientDisconnect:
        # Nobody hears this. It is no failure of ours, for the daemon's log.
        raise HTTPException(400, "The connection ended before the body did.") from None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {_why(error)}") from None
    if not isinstance(value, dict):
        raise InvalidEvent("body", 'should be a JSON object: {"name": value, …}')
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_JSON = json.JSONDecoder(parse_constant=_no_constant)
"""Made once: `json.loads` makes one for each body."""


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200]


Body = Annotated[dict[str, Any], Depends(json_object)]
"""A body that is read once the caller is let in, and not before: a parameter of the framework's would be first."""
Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], body: Mapping[str, Any]) -> Model:
    """The body as its model. Raises the framework's own error, which names each wrong field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise rejected(error) from None


def described(model: type[BaseModel]) -> dict[str, Any]:
    """For a route's `openapi_extra`: what its body is."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}
