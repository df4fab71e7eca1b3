"""Read and check request bodies: bounded JSON, read only after the caller is authorized."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alertctl.api.errors import request_error
from alertctl.errors import InvalidEvent
from alertctl.serialization import MAX_DEPTH, MAX_VALUES, TOO_MANY_VALUES, check_size

MAX_BYTES = 1024 * 1024
LARGE_BYTES = 16 * 1024
"""From this size on a body is parsed off the event loop: below, that would take longer than parsing."""
TOO_LARGE = "The body is larger than 1 MB; shorten it, or link to the details."
T = TypeVar("T")
_STRING = re.compile(r'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
"""A JSON string, terminated or not. Takes linear time for any text."""
_LARGE_BODIES = CapacityLimiter(1)
"""One large body at a time: decoding holds the interpreter's lock, and several would keep it from the event loop."""


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
            if received > MAX_BYTES:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self._app(scope, receive_bounded, send)


async def read_json(request: Request, parse: Callable[[dict[str, Any]], T]) -> T:
    """Return what `parse` makes of the body, a JSON object. A large body is decoded and parsed off the event loop.

    Raises HTTPException (400 for invalid JSON, 413) or InvalidEvent.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BYTES:
        raise HTTPException(413, TOO_LARGE)
    try:
        body = await request.body()
    except ClientDisconnect:
        # The client is gone. This answer keeps the disconnect out of the daemon's error log.
        raise HTTPException(400, "The connection ended before the end of the body.") from None
    if len(body) <= LARGE_BYTES:
        return parse(_decode(body))
    return await run_sync(lambda: parse(_decode(body)), limiter=_LARGE_BODIES)


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object. Raises what `read_json` raises."""
    return await read_json(request, dict)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        if len(body) > LARGE_BYTES:
            _check_count(text)
        value = _JSON.decode(text)
    except UnicodeDecodeError:
        raise HTTPException(400, "The body is not JSON: it is not UTF-8") from None
    except ValueError as error:
        raise HTTPException(400, f"The body is not JSON: {str(error)[:200]}") from None
    except RecursionError:
        raise InvalidEvent("body", "has too many levels of objects and lists; flatten it") from None
    if not isinstance(value, dict):
        raise InvalidEvent("body", 'should be a JSON object: {"name": value, …}')
    if len(text) > MAX_VALUES or text.count("{") + text.count("[") > MAX_DEPTH:
        # A shorter body has fewer values, and one with fewer brackets fewer levels.
        check_size(value, "body")
    return value


def _check_count(text: str) -> None:
    """Raise InvalidEvent for too many values, without decoding them: for 1 MB that takes up to half a second."""
    without_strings = _STRING.sub("", text)
    if sum(without_strings.count(mark) for mark in ",[{") > MAX_VALUES:
        raise InvalidEvent("body", TOO_MANY_VALUES)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_JSON = json.JSONDecoder(parse_constant=_no_constant)
"""Created once: `json.loads` with these options creates a decoder for each body."""


Body = Annotated[dict[str, Any], Depends(json_object)]
"""A body that is read after the caller is authorized; FastAPI would read a body parameter before that."""
Model = TypeVar("Model", bound="StrictBody")


class StrictBody(BaseModel):
    """A request body that refuses unknown fields and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def parse_body(model: type[Model], body: Mapping[str, Any]) -> Model:
    """Return the body as its model. Raises RequestValidationError, which names each wrong field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise request_error(error) from None


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a route's `openapi_extra` that describes its body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}
