"""Servers that misbehave and connections that break: a clear error in bounded time, and nothing is done twice."""

from __future__ import annotations

import json
import socket
from contextlib import suppress

import pytest

from alertctl.client.remote import RemoteClient
from alertctl.client.server_config import ServerConfig
from alertctl.errors import AlertctlError, NotAllowed, NotFound, Unreachable
from alertctl.sandbox import Sandbox
from alertctl.schemas import LogFilter
from tests.support.clients import ADMIN, answering, cutting, rollback, serving, settings_on, token_for


def reply(status: str, body: bytes = b"", error_type: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {error_type}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def problem(status: int, detail: str, more: str = "") -> bytes:
    return reply(f"{status} X", json.dumps({"detail": detail}).encode(), "application/problem+json", more)


PAGE = reply("200 OK", json.dumps({"items": [], "total": 0, "page": 1, "limit": 20, "next_cursor": None}).encode())
UNEXPECTED = "sent JSON that alertctl does not expect: correct ALERTCTL_SERVER, or upgrade the older of the two$"
REPLIES: list[tuple[str, list[bytes], type[AlertctlError], int, str]] = [
    ("a proxy's page", [reply("200 OK", b"<html>hello", "text/html")], Unreachable, 5, "is not an alertctl server"),
    ("no JSON", [reply("200 OK", b"{")], Unreachable, 5, "is not an alertctl server"),
    ("nothing", [reply("204 No Content")], Unreachable, 5, "is not an alertctl server"),
    ("JSON of another shape", [reply("200 OK", b"[1, 2]")], Unreachable, 5, UNEXPECTED),
    ("items of another shape", [reply("200 OK", b'{"items": [1]}')], Unreachable, 5, UNEXPECTED),
    ("elsewhere", [reply("302 Found", more="location: http://127.0.0.1:1/\r\n")], Unreachable, 5, "redirects to"),
    ("no such page", [reply("404 Not Found", b"nope", "text/plain")], Unreachable, 5, "correct ALERTCTL_SERVER"),
    ("no such delivery", [problem(404, "there is none")], NotFound, 2, "there is none"),
    ("who are you", [problem(401, "the token is wrong")], NotAllowed, 4, "the token is wrong"),
    ("you may not", [problem(403, "this needs admin")], NotAllowed, 4, "this needs admin"),
    ("a proxy's no", [reply("403 Forbidden", b"<html>", "text/html")], NotAllowed, 4, "check for a proxy"),
    ("a proxy with a password", [reply("407 Who", b"<html>", "text/html")], Unreachable, 5, r"name and password; put"),
    ("broken", [problem(500, "oops")] * 3, Unreachable, 5, "oops"),
    ("no HTTP", [b"220 mail.example ESMTP\r\n"] * 40, Unreachable, 5, "can't be reached"),
    ("silence", [b""] * 40, Unreachable, 5, "can't be reached"),
]


@pytest.mark.parametrize(
    ("replies", "error_type", "code", "message"), [case[1:] for case in REPLIES], ids=[case[0] for case in REPLIES]
)
def test_an_answer_of_a_wrong_server_is_one_clear_error(replies, error_type, code, message):
    with answering(*replies) as address, RemoteClient(ServerConfig(address, "actl_secret", timeout=1)) as client:
        with pytest.raises(error_type, match=message) as caught:
            client.log(LogFilter())
        assert caught.value.exit_code == code
        assert "actl_secret" not in str(caught.value)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxys_page_in_place_of_a_stopped_server_names_both(status):
    page = reply(f"{status} Bad", b"<html>", "text/html")
    with (
        answering(page) as address,
        RemoteClient(ServerConfig(address, "x", timeout=5)) as client,
        pytest.raises(Unreachable) as caught,
    ):
        client.test("slack", "#ops")
    advice = "start alertctl serve there, or check the proxy before it"
    assert str(caught.value) == f"{address} answered {status}, but not like alertctl; {advice}"


@pytest.mark.parametrize("body", [b"{}", b'{"due": false}', b'{"attempted": 1, "success": 1}'])
def test_an_answer_without_counts_is_not_a_dispatch_of_nothing(body):
    with (
        answering(reply("200 OK", body)) as address,
        RemoteClient(ServerConfig(address, "x", timeout=1)) as client,
        pytest.raises(Unreachable, match=f"{address} {UNEXPECTED}"),
    ):
        client.dispatch()


@pytest.mark.parametrize(
    "first", [problem(503, "the database is away", "retry-after: 0\r\n"), problem(429, "slowly"), reply("502 Bad"), b""]
)
def test_a_transient_answer_is_retried(first):
    with answering(first, PAGE) as address, RemoteClient(ServerConfig(address, "x", timeout=20)) as client:
        assert client.log(LogFilter()).total == 0


def test_a_call_to_a_server_that_never_answers_ends_at_its_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with RemoteClient(ServerConfig(address, "x", timeout=0.5)) as client, pytest.raises(Unreachable):
            client.log(LogFilter())


def test_a_token_does_not_go_to_where_a_redirect_leads():
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.5)
        away = f"location: http://127.0.0.1:{other.getsockname()[1]}/\r\n"
        moved = reply("307 Temporary Redirect", more=away)
        with (
            answering(moved) as address,
            RemoteClient(ServerConfig(address, "actl_secret", timeout=1)) as client,
            pytest.raises(Unreachable),
        ):
            client.log(LogFilter())
        with suppress(TimeoutError):
            connections.append(other.accept())
    assert connections == []


def test_a_call_whose_reply_is_lost_is_repeated_and_sends_once(tmp_path, sandbox: Sandbox):
    url = f"sqlite:///{tmp_path / 'alertctl.db'}"
    token = token_for(url, ADMIN, "admin")
    with serving(settings_on(url, sandbox.settings())) as address:
        with cutting(address, losses=2) as proxy, RemoteClient(ServerConfig(proxy, token, timeout=20)) as client:
            receipt = client.publish(rollback("slack:#ops"))
        with RemoteClient(ServerConfig(address, token, timeout=20)) as client:
            assert [item.status for item in client.deliver(receipt.event_id)] == ["success"]
            assert client.log(LogFilter()).total == 1
    assert len(sandbox.slack.messages) == 1
