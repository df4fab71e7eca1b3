"""Malformed, oversized and unfinished HTTP requests."""

from __future__ import annotations

import asyncio
import errno
import json
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alertctl.daemon.file_limit import LoopErrorHandler, ShortageLog, max_connections, raise_file_limit
from alertctl.daemon.http_protocol import MAX_HEAD_BYTES, HttpProtocol
from alertctl.db import Store, upgrade
from tests.support.api_server import BASE, ApiServer, running
from tests.support.waiting import wait_until


class ShortLimit(HttpProtocol):
    """The daemon's protocol with shorter time limits for the arrival of a request."""

    head_seconds = 0.1
    arrival_seconds = 0.2


class LongHead(HttpProtocol):
    """The daemon's protocol with a short time limit for the head alone."""

    head_seconds = 0.1


class FewConnections(HttpProtocol):
    """The daemon's protocol with a small bound of connections."""

    max_connections = 10


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


def test_a_body_may_take_longer_than_a_head(store: Store) -> None:
    with running(store, protocol=LongHead) as api:
        head = f"POST {BASE}/test HTTP/1.1\r\nConnection: close\r\nContent-Length: 20\r\n"
        with socket.create_connection(("127.0.0.1", api.port), timeout=20) as caller:
            caller.sendall(f"{head}Authorization: Bearer {api.tokens['developer']}\r\n\r\n".encode())
            time.sleep(0.3)
            caller.sendall(b'{"channel": "slack"}')
            assert caller.recv(100).startswith(b"HTTP/1.1 200 ")


def test_more_connections_than_the_bound_close_the_oldest_without_a_request(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class OwnLog(FewConnections):
        shortage_log = ShortageLog()

    with running(store, protocol=OwnLog) as api, ExitStack() as stack:
        address = ("127.0.0.1", api.port)
        idle = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(30)]
        assert api.call("GET", "/healthz").status == 200
        assert api.ask("POST", "/events", {"event_type": "generic_alert", "title": "x"}).status == 202
        closed = select.select(idle, [], [], 0)[0]
        assert closed == idle[: len(closed)]
        assert len(closed) >= 20
    warnings = [item.getMessage() for item in caplog.records if item.name == "alertctl.daemon"]
    assert len(warnings) == 1
    assert "more than 10 connections are open" in warnings[0]
    assert "raise the hard limit of open files" in warnings[0]


@pytest.mark.parametrize("request_line", ["GET /healthz", "POST /healthz"])
def test_more_idle_callers_with_a_request_than_the_bound_delay_nobody(store: Store, request_line: str) -> None:
    length = 9 if request_line.startswith("POST") else 0
    with running(store, protocol=FewConnections) as api, ExitStack() as stack:
        for _ in range(30):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=20))
            caller.sendall(f"{request_line} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
            assert caller.recv(100).startswith(b"HTTP/1.1 ")
        assert api.call("GET", "/healthz").status == 200


def test_connections_with_a_request_are_not_closed_for_others(store: Store) -> None:
    with running(store, protocol=FewConnections) as api, ExitStack() as stack:
        api.provider_answers.clear()
        body = b'{"channel": "slack"}'
        head = f"POST {BASE}/test HTTP/1.1\r\nAuthorization: Bearer {api.tokens['developer']}\r\n"
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=20)) for _ in range(5)]
        for caller in callers:
            caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: len(api.tests) == len(callers))
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=20))
        assert api.call("GET", "/healthz").status == 200
        api.provider_answers.set()
        assert {caller.recv(100)[:13] for caller in callers} == {b"HTTP/1.1 200 "}


def test_half_of_the_descriptors_stay_free() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert max_connections() == 512
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(8192, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lack_of_descriptors_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    loop, handler = asyncio.new_event_loop(), LoopErrorHandler()
    for _ in range(3):
        error = OSError(errno.EMFILE, "Too many open files")
        handler(loop, {"message": "socket.accept() out of system resource", "exception": error})
    handler(loop, {"message": "a bug"})
    loop.close()
    assert [(item.name, item.getMessage().split(":")[0]) for item in caplog.records] == [
        ("alertctl.daemon", "Too many open files"),
        ("asyncio", "a bug"),
    ]
