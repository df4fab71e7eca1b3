"""The parts of HTTP/1.1 that Slack's and SendGrid's APIs need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from alertctl.sandbox.connection import ClientConnection, LimitExceeded
from alertctl.sandbox.records import now

MAX_HEAD = 64 * 1024
MAX_BODY = 40 * 1024 * 1024
"""Above SendGrid's own limit of 30 MB, so that its refusal differs from ours."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A complete HTTP request, accepted or not. `headers` has lower-case names; `path` is without the query.

    `head` has the request line and the headers as received. `fault` is the fault that applied, "" for none;
    `connection` counts the TCP connections from 1: calls over a kept one share a number.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    head: bytes
    version: str
    connection: int
    at: datetime
    body: bytes = b""
    fault: str = ""

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
        length = len(self.body) if length is None else length
        connection = "keep-alive" if keep_alive else "close"
        return head(self.status, {**self.headers, "Content-Length": str(length), "Connection": connection})

    def encode(self, *, keep_alive: bool = True) -> bytes:
        return self.head(keep_alive=keep_alive) + self.body


class BadRequest(Exception):
    """The received bytes are not a valid request; `status` is that of the response."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def head(status: int, headers: Mapping[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def json_response(status: int, value: Any) -> HttpResponse:
    body = json.dumps(value, separators=(",", ":")).encode()
    return HttpResponse(status, body, {"Content-Type": "application/json; charset=utf-8"})


def parse_json(data: str | bytes) -> Any:
    """Parse JSON. Raises ValueError, also for NaN and for text that is nested too deeply."""
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def read_request(connection: ClientConnection) -> HttpCall:
    """Read the next request. Raises BadRequest, or ConnectionEnded when the client closes before its end."""
    try:
        head = await connection.read_until(b"\r\n\r\n", MAX_HEAD)
    except LimitExceeded:
        raise BadRequest(431) from None
    method, target, version, headers = parse_head(head)
    if headers.get("transfer-encoding"):
        raise BadRequest(411)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(400)
    if int(length) > MAX_BODY:
        raise BadRequest(413)
    if headers.get("expect", "").lower() == "100-continue":
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await connection.read_exactly(int(length))
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    return HttpCall(method, target.path, query, headers, head, version, connection.number, now(), body)


def parse_head(data: bytes) -> tuple[str, SplitResult, str, dict[str, str]]:
    """Return method, target, version and headers. Raises BadRequest."""
    first, *lines = data.decode("latin-1").split("\r\n")[:-2]
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400)
        headers[name.lower()] = value.strip()
    try:
        method, target, version = first.split(" ")
        parts = urlsplit(target)
    except ValueError:
        raise BadRequest(400) from None
    if not version.startswith("HTTP/1."):
        raise BadRequest(400)
    return method, parts, version, headers
