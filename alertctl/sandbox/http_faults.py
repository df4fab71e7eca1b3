"""Apply the faults of the HTTP providers: one function for each row of the fault table."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.http import HttpResponse, head, json_response

MEGABYTE = 1024 * 1024
DRIP_PADDING = "." * 600
"""Makes a response at one byte a second last longer than ten minutes."""


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
    if connection_fault := CONNECTION_FAULTS.get(name):
        await connection_fault(exchange)
        return None
    if fixed_response := FIXED_RESPONSES.get(name):
        return fixed_response(exchange)
    return ALTERED_RESPONSES[name](exchange.true_response())


async def apply_connect_fault(connection: ClientConnection, fault: Fault) -> None:
    """Apply a fault of the stage `connect` to an open connection."""
    if fault.name == "black_hole":
        await connection.ignore()


# --- responses that don't depend on the request ---


def _http_status(exchange: Exchange) -> HttpResponse:
    return exchange.refusal(exchange.fault.status)


def _retry_after(exchange: Exchange) -> HttpResponse:
    response = exchange.refusal(429)
    value = exchange.fault.value
    return response if value is None else response.with_headers(Retry_After=value)


def _retry_after_in_body(exchange: Exchange) -> HttpResponse:
    body = json.loads(exchange.refusal(429).body)
    seconds = exchange.fault.value or ""
    return json_response(429, {**body, "retry_after": int(seconds) if seconds.isdigit() else seconds})


def _rate_limit_reset(exchange: Exchange) -> HttpResponse:
    response = exchange.refusal(429).with_headers(X_RateLimit_Remaining="0")
    return response.with_headers(X_RateLimit_Reset=exchange.fault.value or "")


def _slack_error(exchange: Exchange) -> HttpResponse:
    return json_response(200, {"ok": False, "error": exchange.fault.value})


def _verbatim(exchange: Exchange) -> HttpResponse:
    body = (exchange.fault.value or "").encode("utf-8", "surrogateescape")
    return HttpResponse(200, body, {"Content-Type": "application/json; charset=utf-8"})


def _html(_: Exchange) -> HttpResponse:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome to the proxy</body></html>"
    return HttpResponse(200, page, {"Content-Type": "text/html; charset=utf-8"})


def _empty(_: Exchange) -> HttpResponse:
    return HttpResponse(200)


def _redirect(exchange: Exchange) -> HttpResponse:
    status = int(exchange.fault.name.removeprefix("redirect_"))
    return HttpResponse(status, b"", {"Location": exchange.fault.value or ""})


FIXED_RESPONSES: dict[str, Callable[[Exchange], HttpResponse]] = {
    "http": _http_status,
    "429": _retry_after,
    "429_body": _retry_after_in_body,
    "429_reset": _rate_limit_reset,
    "slack": _slack_error,
    "reply": _verbatim,
    "html_200": _html,
    "empty_200": _empty,
    "redirect_302": _redirect,
    "redirect_307": _redirect,
}


# --- the true response, altered ---


def _gzip(response: HttpResponse) -> HttpResponse:
    compressed = HttpResponse(response.status, gzip.compress(response.body), response.headers)
    return compressed.with_headers(Content_Encoding="gzip")


def _bogus_charset(response: HttpResponse) -> HttpResponse:
    return response.with_headers(Content_Type="application/json; charset=no-such-charset")


def _invalid_utf8(response: HttpResponse) -> HttpResponse:
    """Add a string with invalid bytes to Slack's JSON, or replace SendGrid's empty body."""
    if response.body.startswith(b"{"):
        return HttpResponse(response.status, b'{"noise":"\xff\xfe\x80",' + response.body[1:], response.headers)
    return HttpResponse(response.status, b"\xff\xfe\x80", response.headers)


def _no_ts(response: HttpResponse) -> HttpResponse:
    body = json.loads(response.body)
    body.pop("ts", None)
    body.get("message", {}).pop("ts", None)
    return HttpResponse(response.status, json_response(200, body).body, response.headers)


def _no_message_id(response: HttpResponse) -> HttpResponse:
    headers = {name: value for name, value in response.headers.items() if name != "X-Message-Id"}
    return HttpResponse(response.status, response.body, headers)


ALTERED_RESPONSES: dict[str, Callable[[HttpResponse], HttpResponse]] = {
    "gzip": _gzip,
    "bogus_charset": _bogus_charset,
    "invalid_utf8": _invalid_utf8,
    "no_ts": _no_ts,
    "no_message_id": _no_message_id,
}


# --- faults of the connection, which is closed afterwards ---


async def _close(_: Exchange) -> None:
    """Do nothing: the caller closes the connection."""


async def _accept_then_close(exchange: Exchange) -> None:
    exchange.true_response()


async def _reset(exchange: Exchange) -> None:
    exchange.connection.reset()


async def _half_headers(exchange: Exchange) -> None:
    head_bytes = exchange.true_response().head()
    await exchange.connection.send(head_bytes[: len(head_bytes) // 2])


async def _short_body(exchange: Exchange) -> None:
    response = exchange.true_response()
    await exchange.connection.send(response.head(length=len(response.body) + 20) + response.body)


async def _stall(exchange: Exchange) -> None:
    await exchange.connection.stall()


async def _ignore(exchange: Exchange) -> None:
    await exchange.connection.ignore()


async def _drip(exchange: Exchange) -> None:
    response = exchange.true_response().with_headers(X_Padding=DRIP_PADDING)
    await exchange.connection.drip(response.encode(keep_alive=False), exchange.drip_interval)


async def _endless_headers(exchange: Exchange) -> None:
    await exchange.connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.connection.flood(b"X-Endless: and so on\r\n" * 1000)


async def _huge_body(exchange: Exchange) -> None:
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    await exchange.connection.send(head(200, headers))
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, b" " * MEGABYTE)
    for _ in range(1024):
        await exchange.connection.flood(chunk)
    await exchange.connection.send(b"0\r\n\r\n")


@functools.cache
def _bomb() -> bytes:
    """Return 1 GB of spaces in about 1 MB: a gzip file may have many members."""
    return gzip.compress(b" " * (16 * MEGABYTE)) * 64


async def _gzip_bomb(exchange: Exchange) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await exchange.connection.send(HttpResponse(200, _bomb(), headers).encode(keep_alive=False))


async def _early_hints(exchange: Exchange) -> None:
    hints = head(103, {"Link": "</style.css>; rel=preload"})
    await exchange.connection.send(hints + exchange.true_response().encode(keep_alive=False))


async def _raw(exchange: Exchange) -> None:
    await exchange.connection.send((exchange.fault.value or "").encode("latin-1"))


CONNECTION_FAULTS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "close_before_reading": _close,
    "close_after_request": _close,
    "accept_then_close": _accept_then_close,
    "rst": _reset,
    "half_headers": _half_headers,
    "short_body": _short_body,
    "stall": _stall,
    "black_hole": _ignore,
    "drip": _drip,
    "endless_headers": _endless_headers,
    "huge_body": _huge_body,
    "gzip_bomb": _gzip_bomb,
    "103_then_200": _early_hints,
    "raw": _raw,
}
