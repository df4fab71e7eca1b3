"""How an HTTP server misbehaves: every row of the fault table that is about HTTP, carried out."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from alertctl.sandbox.connection import Wire
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.http import Answer, head, json_answer

MEGABYTE = 1024 * 1024
DRIP_PADDING = "." * 600
"""At a byte a second the answer then takes more than ten minutes."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that a fault has struck.

    `true_answer` judges the request and keeps its message; `refusal` puts an HTTP status the provider's way.
    """

    wire: Wire
    fault: Fault
    true_answer: Callable[[], Answer]
    refusal: Callable[[int], Answer]
    drip_interval: float


async def misbehave(exchange: Exchange) -> Answer | None:
    """Carry out the fault. The answer is still to be sent; None when the connection is to be closed instead."""
    name = exchange.fault.name
    if conduct := CONDUCT.get(name):
        await conduct(exchange)
        return None
    if canned := CANNED.get(name):
        return canned(exchange)
    return ALTERED[name](exchange.true_answer())


async def misbehave_unread(wire: Wire, fault: Fault) -> None:
    """A fault of the stage `connect` on a connection that is already made."""
    if fault.name == "black_hole":
        await wire.ignore()


# --- answers that have nothing to do with the request ---


def _http_status(exchange: Exchange) -> Answer:
    return exchange.refusal(exchange.fault.status)


def _retry_after(exchange: Exchange) -> Answer:
    answer = exchange.refusal(429)
    value = exchange.fault.value
    return answer if value is None else answer.with_headers(Retry_After=value)


def _retry_after_in_body(exchange: Exchange) -> Answer:
    said = json.loads(exchange.refusal(429).body)
    seconds = exchange.fault.value or ""
    return json_answer(429, {**said, "retry_after": int(seconds) if seconds.isdigit() else seconds})


def _rate_limit_reset(exchange: Exchange) -> Answer:
    answer = exchange.refusal(429).with_headers(X_RateLimit_Remaining="0")
    return answer.with_headers(X_RateLimit_Reset=exchange.fault.value or "")


def _slack_error(exchange: Exchange) -> Answer:
    return json_answer(200, {"ok": False, "error": exchange.fault.value})


def _verbatim(exchange: Exchange) -> Answer:
    body = (exchange.fault.value or "").encode("utf-8", "surrogateescape")
    return Answer(200, body, {"Content-Type": "application/json; charset=utf-8"})


def _html(_: Exchange) -> Answer:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome to the proxy</body></html>"
    return Answer(200, page, {"Content-Type": "text/html; charset=utf-8"})


def _empty(_: Exchange) -> Answer:
    return Answer(200)


def _redirect(exchange: Exchange) -> Answer:
    status = int(exchange.fault.name.removeprefix("redirect_"))
    return Answer(status, b"", {"Location": exchange.fault.value or ""})


CANNED: dict[str, Callable[[Exchange], Answer]] = {
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


# --- the true answer, altered ---


def _gzip(answer: Answer) -> Answer:
    return Answer(answer.status, gzip.compress(answer.body), answer.headers).with_headers(Content_Encoding="gzip")


def _bogus_charset(answer: Answer) -> Answer:
    return answer.with_headers(Content_Type="application/json; charset=no-such-charset")


def _invalid_utf8(answer: Answer) -> Answer:
    """Slack's JSON gets a string with the bytes in it, SendGrid's empty body becomes the bytes."""
    if answer.body.startswith(b"{"):
        return Answer(answer.status, b'{"noise":"\xff\xfe\x80",' + answer.body[1:], answer.headers)
    return Answer(answer.status, b"\xff\xfe\x80", answer.headers)


def _no_ts(answer: Answer) -> Answer:
    said = json.loads(answer.body)
    said.pop("ts", None)
    said.get("message", {}).pop("ts", None)
    return Answer(answer.status, json_answer(200, said).body, answer.headers)


def _no_message_id(answer: Answer) -> Answer:
    headers = {name: value for name, value in answer.headers.items() if name != "X-Message-Id"}
    return Answer(answer.status, answer.body, headers)


ALTERED: dict[str, Callable[[Answer], Answer]] = {
    "gzip": _gzip,
    "bogus_charset": _bogus_charset,
    "invalid_utf8": _invalid_utf8,
    "no_ts": _no_ts,
    "no_message_id": _no_message_id,
}


# --- conduct on the wire; the connection is closed afterwards ---


async def _close(_: Exchange) -> None:
    """Nothing to do: the caller closes."""


async def _accept_then_close(exchange: Exchange) -> None:
    exchange.true_answer()


async def _reset(exchange: Exchange) -> None:
    exchange.wire.reset()


async def _half_headers(exchange: Exchange) -> None:
    whole = exchange.true_answer().head()
    await exchange.wire.send(whole[: len(whole) // 2])


async def _short_body(exchange: Exchange) -> None:
    answer = exchange.true_answer()
    await exchange.wire.send(answer.head(length=len(answer.body) + 20) + answer.body)


async def _stall(exchange: Exchange) -> None:
    await exchange.wire.stall()


async def _ignore(exchange: Exchange) -> None:
    await exchange.wire.ignore()


async def _drip(exchange: Exchange) -> None:
    answer = exchange.true_answer().with_headers(X_Padding=DRIP_PADDING)
    await exchange.wire.drip(answer.encode(keep_alive=False), exchange.drip_interval)


async def _endless_headers(exchange: Exchange) -> None:
    await exchange.wire.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.wire.flood(b"X-Endless: and so on\r\n" * 1000)


async def _huge_body(exchange: Exchange) -> None:
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    await exchange.wire.send(head(200, headers))
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, b" " * MEGABYTE)
    for _ in range(1024):
        await exchange.wire.flood(chunk)
    await exchange.wire.send(b"0\r\n\r\n")


@functools.cache
def _bomb() -> bytes:
    """1 GB of blanks in about 1 MB: gzip allows one member after the other."""
    return gzip.compress(b" " * (16 * MEGABYTE)) * 64


async def _gzip_bomb(exchange: Exchange) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    await exchange.wire.send(Answer(200, _bomb(), headers).encode(keep_alive=False))


async def _early_hints(exchange: Exchange) -> None:
    hints = head(103, {"Link": "</style.css>; rel=preload"})
    await exchange.wire.send(hints + exchange.true_answer().encode(keep_alive=False))


async def _raw(exchange: Exchange) -> None:
    await exchange.wire.send((exchange.fault.value or "").encode("latin-1"))


CONDUCT: dict[str, Callable[[Exchange], Awaitable[None]]] = {
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
