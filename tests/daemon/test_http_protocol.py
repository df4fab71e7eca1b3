"""Malformed, oversized and unfinished HTTP requests."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.daemon.http_protocol import MAX_HEAD_BYTES, HttpProtocol
from alertctl.db import Store, upgrade
from tests.support.api_server import BASE, ApiServer, running


class ShortLimit(HttpProtocol):
    """The daemon's protocol with a shorter time limit for the arrival of a request."""

    arrival_seconds = 0.2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('api') / 'alertctl.db'}")
    upgrade(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def api(store: Store) -> Iterator[ApiServer]:
    with running(store) as started:
        yield started


@pytest.fixture(scope="module")
def short_limit(store: Store) -> Iterator[ApiServer]:
    with running(store, protocol=ShortLimit) as started:
        yield started


def exchange(api: ApiServer, *parts: bytes) -> bytes:
    """Send the parts and return everything that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as caller:
        for part in parts:
            caller.sendall(part)
        return b"".join(iter(lambda: caller.recv(65_536), b""))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1), 431),
        (b"GET /" + b"x" * (MAX_HEAD_BYTES + 1), 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEAD_BYTES // 6 + 1), 431),
    ],
)
def test_a_malformed_request_is_answered_with_a_problem(api: ApiServer, sent: bytes, status: int) -> None:
    head, _, body = exchange(api, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == status


def test_a_long_head_that_is_still_within_the_bound_is_read(api: ApiServer) -> None:
    request = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nX: " + b"x" * (MAX_HEAD_BYTES - 200)
    assert exchange(api, request, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nX: ", b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"])
def test_the_connection_of_an_unfinished_request_is_closed(short_limit: ApiServer, start: bytes) -> None:
    assert exchange(short_limit, start)[:13] in (b"", b"HTTP/1.1 404 ")


def test_the_answer_to_a_complete_request_may_take_longer(short_limit: ApiServer) -> None:
    short_limit.provider_answers.clear()
    request = b'{"channel": "slack"}'
    head = (
        f"POST {BASE}/test HTTP/1.1\r\nAuthorization: Bearer {short_limit.tokens['developer']}\r\nConnection: close\r\n"
    )
    with socket.create_connection(("127.0.0.1", short_limit.port), timeout=20) as caller:
        caller.sendall(f"{head}Content-Length: {len(request)}\r\n\r\n".encode() + request)
        time.sleep(0.4)
        short_limit.provider_answers.set()
        assert caller.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_never_comes_holds_up_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(f"sqlite:///{tmp_path / 'alertctl.db'}")
    upgrade(store)
    with running(store) as api:
        caller = socket.create_connection(("127.0.0.1", api.port), timeout=20)
        head = f"POST {BASE}/events HTTP/1.1\r\nAuthorization: Bearer {api.tokens['developer']}\r\n"
        caller.sendall(f"{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode())
        assert caller.recv(1000).startswith(b"HTTP/1.1 100 ")
        began = time.monotonic()
    assert time.monotonic() - began < 8
    caller.close()
    store.close()
    assert [item.getMessage() for item in caplog.records if item.levelname in ("WARNING", "ERROR")] == []
