"""The parts of HTTP/1.1 that Slack's and SendGrid's APIs need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from alertctl.sandbox.connection import ClientConnection, LimitExceeded

MAX_HEAD = 64 * 1024
MAX_BODY = 40 * 1024 * 1024
"""Above SendGrid's own limit of 30 MB, so that its refusal differs from ours."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`headers` has lower-case names; `path` is without the query."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    head: bytes
    body: bytes = b""
    version: str = "HTTP/1.1"

    @property
    def keep_alive(self) -> bool:
        return self.version != "HTTP/1.0" and self.headers.get("connection", "").lower() != "close"

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def bearer(self) -> str:
        """The token of the Authorization header, "" without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, **headers: str) -> HttpResponse:
        """Return a copy with these headers; their names have `_` for `-`."""
        return replace(self, headers={**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def head(self, *, length: int | None = None, keep_alive: bool = True) -> bytes:
        """Return status line, headers and blank line. `length` replaces the true Content-Length."""
        headers = {
            **self.headers,
            "Content-Length": str(len(self.body) if length is None else length),
            "Connection": "keep-alive" if keep_alive else "close",
        }
        return head(self.status, headers)

    def encode(self, *, keep_alive: bool = True) -> bytes:
        return self.head(keep_alive=keep_alive) + self.body


class BadRequest(Exception):
    """The received bytes are no valid request; `status` is that of the response."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def json_response(status: int, value: Any) -> HttpResponse:
    body = json.dumps(value, separators=(",", ":")).encode()
    return HttpResponse(status, body, {"Content-Type": "application/json; charset=utf-8"})


async def read_request(connection: ClientConnection) -> HttpRequest:
    """Read the next request. Raises BadRequest, or ConnectionEnded when the client closes before its end."""
    try:
        request = parse_head(await connection.read_until(b"\r\n\r\n", MAX_HEAD))
    except LimitExceeded:
        raise BadRequest(431) from None
    if request.headers.get("transfer-encoding"):
        raise BadRequest(411)
    length = content_length(request.headers)
    if request.headers.get("expect", "").lower() == "100-continue":
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return replace(request, body=await connection.read_exactly(length))


def content_length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(400)
    if int(text) > MAX_BODY:
        raise BadRequest(413)
    return int(text)


def parse_head(data: bytes) -> HttpRequest:
    first, *lines = data.decode("latin-1").split("\r\n")[:-2]
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest(400)
    try:
        target = urlsplit(parts[1])
    except ValueError:
        raise BadRequest(400) from None
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    return HttpRequest(parts[0], target.path, query, _headers(lines), data, version=parts[2])


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400)
        headers[name.lower()] = value.strip()
    return headers
