"""Rules for all requests: HEAD is answered where GET is, and a repeated query parameter is refused, except `label`."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alertctl.api.errors import FieldProblem, clean, problem

REPEATED = "is given twice; send one value"
REPEATABLE = frozenset(("label",))
"""Query parameters that may have several values."""


class RequestRules:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        repeated = _repeated_parameter(scope.get("query_string", b""))
        if repeated is not None:
            # Else one of two values would win without a word: ?status=failed&status=success.
            wrong = FieldProblem(field=repeated, message=REPEATED)
            await problem(422, f"{repeated}: {REPEATED}", errors=[wrong])(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "HEAD":
            await self._answer_head(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({"type": "http.response.body", "body": b""})
            # A stream would go on for ever.
            raise _HeadSent

        try:
            await self._app({**scope, "method": "GET"}, receive, send_head)
        except* _HeadSent:
            pass


class _HeadSent(Exception):
    """The head of the answer is sent, and nobody reads a body."""


def _repeated_parameter(query: bytes) -> str | None:
    if b"&" not in query:
        return None
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen:
            return clean(name[:200])
        if name not in REPEATABLE:
            seen.add(name)
    return None
