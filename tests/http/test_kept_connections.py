"""Kept connections: reused while open, replaced when closed, and never the cause of a second request."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from alertctl.errors import Reason
from alertctl.http.client import HttpClient
from alertctl.http.errors import HttpError
from alertctl.sandbox import Sandbox
from tests.support.raw_server import RawServer, raw_server, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 200_000])
@pytest.mark.parametrize("fault", ["close_after_request", "rst"])
def test_a_request_that_dies_unanswered_on_a_kept_connection_is_not_sent_again(
    sandbox: Sandbox, client: HttpClient, body: bytes, fault: str
) -> None:
    url = f"{sandbox.slack_api_url}auth.test"
    sandbox.slack.faults.then("ok", fault)
    assert client.request("POST", url, {}, body).status == 200
    with pytest.raises(HttpError) as raised:
        client.request("POST", url, {}, body)
    assert raised.value.reason is Reason.AMBIGUOUS
    assert raised.value.code in ("no_reply", "connection_reset")
    assert len(sandbox.slack.calls) == 2
    assert client.request("POST", url, {}, body).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_closes_after_each_answer_without_saying_so_is_asked_on_new_connections(method: str) -> None:
    closed = threading.Event()

    def answer_and_close(connection: socket.socket) -> None:
        server.requests.append(read_request(connection))
        connection.sendall(OK)
        connection.close()
        closed.set()

    client = HttpClient(10.0)
    with raw_server(answer_and_close) as server:
        for _ in range(5):
            assert client.request(method, server.url, {}, b"{}" if method == "POST" else b"").status == 200
            assert closed.wait(10)
            closed.clear()
    client.close()
    assert len(server.requests) == 5


def test_unrequested_data_is_never_taken_for_an_answer() -> None:
    replies = [OK + b"HTTP/1.1 500 Unasked\r\nContent-Length: 0\r\n\r\n", OK]
    arrived = threading.Event()

    def talkative(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(replies.pop(0))
        arrived.set()
        connection.recv(1)

    client = HttpClient(10.0)
    with raw_server(talkative) as server:
        assert client.request("POST", server.url, {}, b"{}").status == 200
        assert arrived.wait(10)
        assert client.request("POST", server.url, {}, b"{}").status == 200
        client.close()


def test_a_kept_connection_that_was_idle_for_too_long_is_not_used_again(sandbox: Sandbox) -> None:
    before, url = sandbox.slack.connections, f"{sandbox.slack_api_url}auth.test"
    client = HttpClient(10.0, max_idle=1)
    for _ in range(2):
        client.request("POST", url, {}, b"{}")
    assert sandbox.slack.connections == before + 1
    # libcurl counts whole seconds.
    time.sleep(2.2)
    client.request("POST", url, {}, b"{}")
    client.close()
    assert sandbox.slack.connections == before + 2


def test_a_new_connection_can_be_asked_for(sandbox: Sandbox, client: HttpClient) -> None:
    before, url = sandbox.slack.connections, f"{sandbox.slack_api_url}auth.test"
    for _ in range(3):
        client.request("POST", url, {}, b"{}", new_connection=True)
    assert sandbox.slack.connections == before + 3


def test_many_threads_share_the_kept_connections(sandbox: Sandbox) -> None:
    before, url = sandbox.slack.connections, f"{sandbox.slack_api_url}auth.test"
    client = HttpClient(10.0, pool_size=8)
    with ThreadPoolExecutor(8) as pool:
        statuses = {reply.status for reply in pool.map(lambda _: client.request("POST", url, {}, b"{}"), range(200))}
    client.close()
    assert statuses == {200}
    assert sandbox.slack.connections - before <= 8


def test_a_connection_over_tls_is_kept_too(tls_sandbox: Sandbox) -> None:
    client = HttpClient(10.0, tls_sandbox.ca_file)
    for _ in range(5):
        assert client.request("POST", f"{tls_sandbox.slack_api_url}auth.test", {}, b"{}").status == 200
    client.close()
    assert tls_sandbox.slack.connections == 1


def test_after_a_time_out_the_next_request_has_a_connection_of_its_own(server: RawServer, client: HttpClient) -> None:
    silent = threading.Event()

    def late(connection: socket.socket) -> None:
        read_request(connection)
        if not silent.is_set():
            silent.set()
            connection.recv(1)
        connection.sendall(OK)

    server.conversation = late
    with pytest.raises(HttpError, match="timeout"):
        client.request("POST", server.url, {}, b"{}", timeout=0.3)
    assert client.request("POST", server.url, {}, b"{}").body == b"ok"
