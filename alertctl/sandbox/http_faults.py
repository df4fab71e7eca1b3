"""Apply the faults of the HTTP providers: a table for each kind of effect.

After LAST_BYTES and CONNECTION_FAULTS the connection is closed.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.http import HttpResponse, head, json_response

MEGABYTE = 1024 * 1024
DRIP_PADDING = "." * 600
"""Makes a response at one byte a second last longer than ten minutes."""
JSON = {"Content-Type": "application/json; charset=utf-8"}
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome to the proxy</body></html>"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the fault that applies to it.

    `true_response` handles the request and records its message; `refusal` returns the provider's response for a status.
    """

    connection: ClientConnection
    fault: Fault
    true_response: Callable[[], HttpResponse]
    refusal: Callable[[int], HttpResponse]
    drip_interval: float


async def apply_fault(exchange: Exchange) -> HttpResponse | None:
    """Apply the fault. Return the response to send, or None when the connection must be closed."""
    name = exchange.fault.name
    if fixed_response := FIXED_RESPONSES.get(name):
        return fixed_response(exchange)
    if altered_response := ALTERED_RESPONSES.get(name):
        return altered_response(exchange.true_response())
    if last_bytes := LAST_BYTES.get(name):
        await exchange.connection.send(last_bytes(exchange))
    else:
        await CONNECTION_FAULTS[name](exchange)
    return None


def _retry_after(exchange: Exchange) -> HttpResponse:
    response, value = exchange.refusal(429), exchange.fault.value
    return response if value is None else response.with_headers(Retry_After=value)


def _retry_after_in_body(exchange: Exchange) -> HttpResponse:
    body, seconds = json.loads(exchange.refusal(429).body), exchange.fault.text
    return json_response(429, {**body, "retry_after": int(seconds) if seconds.isdigit() else seconds})


def _rate_limit_reset(exchange: Exchange) -> HttpResponse:
    return exchange.refusal(429).with_headers(X_RateLimit_Remaining="0", X_RateLimit_Reset=exchange.fault.text)


def _redirect(exchange: Exchange) -> HttpResponse:
    status = int(exchange.fault.name.removeprefix("redirect_"))
    return HttpResponse(status, b"", {"Location": exchange.fault.text})


FIXED_RESPONSES: dict[str, Callable[[Exchange], HttpResponse]] = {
    "http": lambda exchange: exchange.refusal(exchange.fault.status),
    "429": _retry_after,
    "429_body": _retry_after_in_body,
    "429_reset": _rate_limit_reset,
    "slack": lambda exchange: json_response(200, {"ok": False, "error": exchange.fault.value}),
    "reply": lambda exchange: HttpResponse(200, exchange.fault.text.encode("utf-8", "surrogateescape"), JSON),
    "html_200": lambda _: HttpResponse(200, PAGE, {"Content-Type": "text/html; charset=utf-8"}),
    "empty_200": lambda _: HttpResponse(200),
    "redirect_302": _redirect,
    "redirect_307": _redirect,
}


def _invalid_utf8(response: HttpResponse) -> HttpResponse:
    """Add a string with invalid bytes to Slack's JSON, or replace SendGrid's empty body."""
    body = response.body
    return replace(response, body=b'{"noise":"\xff\xfe\x80",' + body[1:] if body.startswith(b"{") else b"\xff\xfe\x80")


def _no_ts(response: HttpResponse) -> HttpResponse:
    body = json.loads(response.body)
    body.pop("ts", None)
    body.get("message", {}).pop("ts", None)
    return replace(response, body=json.dumps(body).encode())


def _no_message_id(response: HttpResponse) -> HttpResponse:
    return replace(response, headers={k: v for k, v in response.headers.items() if k != "X-Message-Id"})


ALTERED_RESPONSES: dict[str, Callable[[HttpResponse], HttpResponse]] = {
    "gzip": lambda response: replace(response, body=gzip.compress(response.body)).with_headers(Content_Encoding="gzip"),
    "bogus_charset": lambda response: response.with_headers(Content_Type="application/json; charset=no-such-charset"),
    "invalid_utf8": _invalid_utf8,
    "no_ts": _no_ts,
    "no_message_id": _no_message_id,
}


def _accept_then_close(exchange: Exchange) -> bytes:
    exchange.true_response()
    return b""


def _half_headers(exchange: Exchange) -> bytes:
    head_bytes = exchange.true_response().head()
    return head_bytes[: len(head_bytes) // 2]


def _short_body(exchange: Exchange) -> bytes:
    response = exchange.true_response()
    return response.head(length=len(response.body) + 20) + response.body


@functools.cache
def _gzip_bomb() -> bytes:
    """Return 1 GB of spaces in about 1 MB: a gzip file may have many members."""
    bomb = gzip.compress(b" " * (16 * MEGABYTE)) * 64
    return HttpResponse(200, bomb, {**JSON, "Content-Encoding": "gzip"}).encode(keep_alive=False)


def _early_hints(exchange: Exchange) -> bytes:
    hints = head(103, {"Link": "</style.css>; rel=preload"})
    return hints + exchange.true_response().encode(keep_alive=False)


LAST_BYTES: dict[str, Callable[[Exchange], bytes]] = {
    "close_before_reading": lambda _: b"",
    "close_after_request": lambda _: b"",
    "accept_then_close": _accept_then_close,
    "half_headers": _half_headers,
    "short_body": _short_body,
    "gzip_bomb": lambda _: _gzip_bomb(),
    "103_then_200": _early_hints,
    "raw": lambda exchange: exchange.fault.text.encode("latin-1"),
}


async def _reset(exchange: Exchange) -> None:
    exchange.connection.reset()


async def _slow(exchange: Exchange) -> None:
    await asyncio.sleep(float(exchange.fault.text))
    await exchange.connection.send(exchange.true_response().encode(keep_alive=False))


async def _drip(exchange: Exchange) -> None:
    response = exchange.true_response().with_headers(X_Padding=DRIP_PADDING)
    await exchange.connection.drip(response.encode(keep_alive=False), exchange.drip_interval)


async def _endless_headers(exchange: Exchange) -> None:
    await exchange.connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.connection.flood(b"X-Endless: and so on\r\n" * 1000)


async def _huge_body(exchange: Exchange) -> None:
    await exchange.connection.send(head(200, {**JSON, "Transfer-Encoding": "chunked"}))
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, b" " * MEGABYTE)
    for _ in range(1024):
        await exchange.connection.flood(chunk)
    await exchange.connection.send(b"0\r\n\r\n")


CONNECTION_FAULTS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "rst": _reset,
    "stall": lambda exchange: exchange.connection.stall(),
    "black_hole": lambda exchange: exchange.connection.ignore(),
    "slow": _slow,
    "drip": _drip,
    "endless_headers": _endless_headers,
    "huge_body": _huge_body,
}
