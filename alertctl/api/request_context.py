"""The id and origin of the request that is being answered, and the headers that every response has."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from alertctl.api.rate_limits import LineLimit

REQUEST_ID = b"x-request-id"
_VALID_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request's id, the address that it came from, and its method and path, in printable ASCII."""

    id: str
    client: str
    line: str
    audit_limit: LineLimit


current_request: ContextVar[RequestContext | None] = ContextVar("current_request", default=None)


class App(FastAPI):
    """FastAPI that names the current request for the log and completes each response's headers.

    Not a middleware: the answer to an unexpected error is sent outside of those.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._audit_limit = LineLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        context = _context_of(scope, self._audit_limit)
        current_request.set(context)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = context.id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await super().__call__(scope, receive, send_with_headers)


def _context_of(scope: Scope, audit_limit: LineLimit) -> RequestContext:
    """Return the context of a request. The caller's X-Request-ID counts if it is harmless in a log."""
    named = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
    request_id = named.decode() if _VALID_ID.fullmatch(named) else os.urandom(8).hex()
    client: Any = scope.get("client")
    # The raw path: a decoded one may contain a line break.
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")[:200]
    return RequestContext(
        request_id, str(client[0]) if client else "unknown", f"{scope['method'][:20]} {path}", audit_limit
    )
