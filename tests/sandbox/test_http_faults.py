from __future__ import annotations

import gzip
import http.client
import io
import json
import socket
import time
from typing import Any

import pytest

from alertctl.sandbox import KINDS, Fault, Sandbox
from alertctl.sandbox.faults import raw, reply
from alertctl.sandbox.http_faults import ALTERED_RESPONSES, CONNECTION_FAULTS, FIXED_RESPONSES, LAST_BYTES
from alertctl.sandbox.slack import SlackSandbox
from tests.support.sandbox_clients import (
    TIMEOUT,
    connect,
    mail_payload,
    port_of,
    post_message,
    receive_all,
    request_bytes,
    send_mail,
    send_request,
    slack_bytes,
)


def receive_under_fault(sandbox: Sandbox, fault: str | Fault) -> bytes:
    """Return the bytes of Slack's answer under this fault."""
    sandbox.slack.faults.then(fault)
    return receive_all(port_of(sandbox.slack_api_url), slack_bytes(sandbox))


def test_every_row_of_the_table_about_http_is_carried_out() -> None:
    named = {kind.name for kind in KINDS if set(kind.providers) & {"slack", "sendgrid"}}

    assert named == {*FIXED_RESPONSES, *ALTERED_RESPONSES, *LAST_BYTES, *CONNECTION_FAULTS}


@pytest.mark.parametrize("status", [400, 403, 404, 413, 500, 502, 503, 504])
def test_a_status_comes_with_a_body_of_the_provider(sandbox: Sandbox, status: int) -> None:
    sandbox.slack.faults.then(f"http_{status}")
    sandbox.sendgrid.faults.then(f"http_{status}")

    slack, sendgrid = post_message(sandbox), send_mail(sandbox)

    assert (slack.status, slack.json["ok"]) == (status, False)
    assert (sendgrid.status, len(sendgrid.json["errors"])) == (status, 1)
    assert sandbox.slack.messages == sandbox.sendgrid.messages == []


@pytest.mark.parametrize(
    ("fault", "header", "value"),
    [
        ("429", "retry-after", None),
        ("429:30", "retry-after", "30"),
        ("429:", "retry-after", ""),
        ("429:abc", "retry-after", "abc"),
        ("429:Wed, 21 Oct 2026 07:28:00 GMT", "retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("429_reset:1700000000", "x-ratelimit-reset", "1700000000"),
        ("429_body:7", "retry-after", None),
    ],
)
def test_a_rate_limit_says_when_in_many_ways(sandbox: Sandbox, fault: str, header: str, value: str | None) -> None:
    sandbox.slack.faults.then(fault)

    answer = post_message(sandbox)

    assert (answer.status, answer.json["error"]) == (429, "ratelimited")
    assert answer.headers.get(header) == value
    assert answer.json.get("retry_after") == (7 if "body" in fault else None)


@pytest.mark.parametrize("code", ["channel_not_found", "msg_too_long", "some_new_code"])
def test_any_error_code_of_slack_can_be_had(sandbox: Sandbox, code: str) -> None:
    sandbox.slack.faults.then(f"slack:{code}")

    answer = post_message(sandbox)

    assert (answer.status, answer.json) == (200, {"ok": False, "error": code})


@pytest.mark.parametrize("body", [b"[]", b'{"ok":"false"}', b"null", b'{"a":1,"b":"x:y"}', b"\xff\x00"])
def test_a_reply_is_verbatim(sandbox: Sandbox, body: bytes) -> None:
    sandbox.slack.faults.then(reply(body))

    answer = post_message(sandbox)

    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"].startswith("application/json")


def test_raw_bytes_are_sent_as_they_are_and_then_it_closes(sandbox: Sandbox) -> None:
    data = bytes(range(256))

    assert receive_under_fault(sandbox, raw(data)) == data
    assert receive_under_fault(sandbox, raw(b"x")) == b"x"
    assert receive_under_fault(sandbox, r"raw:HTTP/1.1 200\r\n\xff") == b"HTTP/1.1 200\r\n\xff"
    assert len(sandbox.slack.calls) == 3


@pytest.mark.parametrize(("fault", "start"), [("html_200", b"<!DOCTYPE html>"), ("empty_200", b"")])
def test_a_200_can_be_nothing_like_an_answer(sandbox: Sandbox, fault: str, start: bytes) -> None:
    sandbox.slack.faults.then(fault)

    answer = post_message(sandbox)

    assert answer.status == 200
    assert answer.body[:15] == start
    assert sandbox.slack.messages == []


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_names_its_address(sandbox: Sandbox, status: int) -> None:
    sandbox.slack.faults.then(f"redirect_{status}:http://127.0.0.1:9/?a=b:c")

    answer = post_message(sandbox)

    assert (answer.status, answer.headers["location"]) == (status, "http://127.0.0.1:9/?a=b:c")


@pytest.mark.parametrize(
    ("fault", "calls", "kept"),
    [("close_before_reading", 0, 0), ("close_after_request", 1, 0), ("accept_then_close", 1, 1), ("rst", 1, 0)],
)
def test_a_connection_can_end_without_an_answer(sandbox: Sandbox, fault: str, calls: int, kept: int) -> None:
    sandbox.slack.faults.then(fault)

    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        post_message(sandbox)

    assert (len(sandbox.slack.calls), len(sandbox.slack.messages)) == (calls, kept)
    assert post_message(sandbox).json["ok"] is True


def test_a_reset_is_a_reset(sandbox: Sandbox) -> None:
    with pytest.raises(ConnectionResetError):
        receive_under_fault(sandbox, "rst")


def test_a_kept_connection_can_be_closed_before_its_next_request_is_read(sandbox: Sandbox) -> None:
    sandbox.slack.faults.then("ok", "close_before_reading")
    connection = connect(sandbox.slack_api_url)
    send_request(connection, "/api/auth.test", {}, key=sandbox.slack.token)

    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        send_request(connection, "/api/auth.test", {}, key=sandbox.slack.token)

    connection.close()
    assert (sandbox.slack.connections, len(sandbox.slack.calls)) == (1, 1)


def test_headers_can_be_cut(sandbox: Sandbox) -> None:
    received = receive_under_fault(sandbox, "half_headers")

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in received


def test_a_body_can_be_shorter_than_it_says(sandbox: Sandbox) -> None:
    sandbox.slack.faults.then("short_body")
    with pytest.raises(http.client.IncompleteRead):
        post_message(sandbox)

    sandbox.sendgrid.faults.then("short_body")
    with pytest.raises(http.client.IncompleteRead):
        send_mail(sandbox)


@pytest.mark.parametrize("fault", ["stall", "black_hole"])
def test_an_answer_can_be_missing_for_ever(sandbox: Sandbox, fault: str) -> None:
    sandbox.slack.faults.then(fault)
    with socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), 0.2) as sock:
        sock.sendall(slack_bytes(sandbox))
        with pytest.raises(TimeoutError):
            sock.recv(1)

    assert sandbox.slack.messages == []
    assert len(sandbox.slack.calls) == (1 if fault == "stall" else 0)


@pytest.mark.parametrize("fault", ["stall", "black_hole", "close_before_reading"])
def test_these_strike_at_an_address_too(sandbox: Sandbox, fault: str) -> None:
    sandbox.slack.faults.at("#dark", fault)
    assert post_message(sandbox, "#light").json["ok"] is True
    data = request_bytes("/api/chat.postMessage", sandbox.slack.token, {"channel": "#dark", "text": "x"})

    with socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), 0.2) as sock:
        sock.sendall(data)
        if fault == "close_before_reading":
            assert sock.recv(1) == b""
        else:
            with pytest.raises(TimeoutError):
                sock.recv(1)


def test_a_drip_is_the_true_answer_byte_by_byte(sandbox: Sandbox) -> None:
    sandbox.slack.drip_interval = 0
    received = receive_under_fault(sandbox, "drip")

    assert len(received) > 600
    assert json.loads(received.partition(b"\r\n\r\n")[2])["ok"] is True

    sandbox.slack.drip_interval = 60
    sandbox.slack.faults.then("drip")
    with socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), TIMEOUT) as sock:
        sock.sendall(slack_bytes(sandbox))
        assert sock.recv(100) == b"H"


@pytest.mark.parametrize(("fault", "mark"), [("endless_headers", b"X-Endless"), ("huge_body", b"    ")])
def test_an_answer_can_go_on_and_on(sandbox: Sandbox, fault: str, mark: bytes) -> None:
    sandbox.slack.faults.then(fault)
    with socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), TIMEOUT) as sock:
        sock.sendall(slack_bytes(sandbox))
        received = 0
        while received < 8 * 1024 * 1024:
            chunk = sock.recv(1024 * 1024)
            assert chunk
            received += len(chunk)
        assert mark in chunk
    assert post_message(sandbox).json["ok"] is True


def test_a_compressed_answer_is_the_true_one(sandbox: Sandbox) -> None:
    sandbox.slack.faults.then("gzip")

    answer = post_message(sandbox)

    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body))["ts"] == sandbox.slack.messages[0].ts


def test_a_bomb_is_small_until_it_is_unpacked(sandbox: Sandbox) -> None:
    sandbox.slack.faults.then("gzip_bomb")

    answer = post_message(sandbox)

    assert len(answer.body) < 2 * 1024 * 1024
    assert len(answer.body) * 1000 > 10**9
    with gzip.GzipFile(fileobj=io.BytesIO(answer.body)) as unpacked:
        assert len(unpacked.read(32 * 1024 * 1024)) == 32 * 1024 * 1024


def test_a_charset_can_be_invented_and_bytes_can_be_no_text(sandbox: Sandbox) -> None:
    sandbox.slack.faults.then("bogus_charset", "invalid_utf8")

    invented, garbled = post_message(sandbox), post_message(sandbox)

    assert "no-such-charset" in invented.headers["content-type"]
    assert invented.json["ok"] is True
    with pytest.raises(UnicodeDecodeError):
        garbled.body.decode()
    assert len(sandbox.slack.messages) == 2


def test_an_early_hint_comes_before_the_answer(sandbox: Sandbox) -> None:
    received = receive_under_fault(sandbox, "103_then_200")

    assert received.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in received


def test_a_success_can_lack_its_id(sandbox: Sandbox) -> None:
    sandbox.slack.faults.then("no_ts")
    sandbox.sendgrid.faults.then("no_message_id")

    slack, sendgrid = post_message(sandbox), send_mail(sandbox)

    assert slack.json["ok"] is True
    assert "ts" not in slack.json
    assert sendgrid.status == 202
    assert "x-message-id" not in sendgrid.headers
    assert len(sandbox.slack.messages) == len(sandbox.sendgrid.messages) == 1


@pytest.mark.parametrize("fault", ["gzip", "bogus_charset", "invalid_utf8", "103_then_200", "accept_then_close"])
def test_sendgrid_knows_them_as_well(sandbox: Sandbox, fault: str) -> None:
    sandbox.sendgrid.faults.then(fault)
    data = request_bytes("/v3/mail/send", sandbox.sendgrid.api_key, mail_payload())

    port = port_of(sandbox.sendgrid_api_url)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: sock.recv(65536), b""))

    assert (b" 202 " in received) == (fault != "accept_then_close")
    assert len(sandbox.sendgrid.messages) == 1


def test_latency_comes_before_each_answer(sandbox: Sandbox) -> None:
    sandbox.slack.latency = 0.1
    begin = time.monotonic()
    post_message(sandbox)

    assert time.monotonic() - begin >= 0.1


@pytest.mark.parametrize("built_in", sorted(SlackSandbox.built_in))
def test_only_built_in_addresses_have_built_in_faults(sandbox: Sandbox, built_in: str) -> None:
    answers: list[Any] = [post_message(sandbox, name).json.get("ok") for name in (f"#{built_in}", f"#not-{built_in}")]

    assert answers == [False, True]
