from __future__ import annotations

import json
import socket

import pytest

from alertctl.sandbox import Sandbox
from tests.support.sandbox_clients import TIMEOUT, port_of, receive_all, slack_bytes


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST http://[ HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
    ],
)
def test_an_invalid_request_is_refused_and_the_connection_closed(sandbox: Sandbox, data: bytes, status: int) -> None:
    received = receive_all(port_of(sandbox.slack_api_url), data)

    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert sandbox.slack.calls == []


def test_a_client_that_waits_for_100_continue_receives_it(sandbox: Sandbox) -> None:
    payload = slack_bytes(sandbox)
    head, _, body = payload.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), TIMEOUT) as sock:
        sock.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("version", "header"), [("HTTP/1.0", b""), ("HTTP/1.1", b"Connection: close\r\n")], ids=["1.0", "close"]
)
def test_a_connection_is_closed_when_the_client_wants_it(sandbox: Sandbox, version: str, header: bytes) -> None:
    data = slack_bytes(sandbox).replace(b"HTTP/1.1\r\n", version.encode() + b"\r\n" + header)

    assert b"Connection: close" in receive_all(port_of(sandbox.slack_api_url), data)


def test_a_call_has_the_request_as_received(sandbox: Sandbox) -> None:
    data = slack_bytes(sandbox).replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n")
    sandbox.slack.faults.then("http_500")
    receive_all(port_of(sandbox.slack_api_url), data)

    (call,) = sandbox.slack.calls

    assert call.head + call.body == data
    assert (call.method, call.path, call.fault, call.connection) == ("POST", "/api/chat.postMessage", "http:500", 1)
    assert json.loads(call.body)["channel"] == "#a"
