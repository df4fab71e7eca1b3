"""Every error is answered with problem JSON."""

from __future__ import annotations

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import pytest

from alertctl.api.endpoints.test import MAX_RUNNING
from alertctl.db import Store, upgrade
from alertctl.schemas import ConnectivityTestResult
from tests.support.api_server import BASE, Answer, ApiServer, running
from tests.support.cases import each

EVENT = {"event_type": "rollout_advance"}


def is_problem(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json
    assert set(body) <= {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert len(body["detail"]) > 10
    assert "Traceback" not in body["detail"]


@pytest.mark.parametrize(
    "path", ["/", "/nothing", f"{BASE}", f"{BASE}/preferences/", f"{BASE}/%00", "/%ff", "//healthz"]
)
def test_an_unknown_path_is_404(shared_api: ApiServer, path: str) -> None:
    is_problem(shared_api.call("GET", path), 404)


def test_a_wrong_method_is_405_and_says_which_are_right(shared_api: ApiServer) -> None:
    answer = shared_api.ask("DELETE", "/preferences")
    is_problem(answer, 405)
    assert answer.headers["allow"] == "GET, PUT"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b'{"n": 1' + b"0" * 5000 + b"}", b"\0"])
@each("route", ["POST /events", "PUT /preferences", "POST /test"])
def test_a_body_that_is_no_json_is_400(shared_api: ApiServer, route: str, body: bytes) -> None:
    method, path = route.split()
    is_problem(shared_api.ask(method, path, body), 400)


def _nested(depth: int) -> bytes:
    return b'{"event_type": "generic_alert", "title": "x", "details": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


MANY_MEMBERS = json.dumps({f"f{number}": 1 for number in range(5001)}).encode()
MANY_ITEMS = b'{"title": "x", "to": [' + b"0," * 400_000 + b"0]}"
UNTERMINATED = b'{"title": "' + b'\\"' * 400_000 + b"\\"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (_nested(50), "levels of objects and lists"),
        (_nested(900), "levels of objects and lists"),
        (_nested(3000), "levels of objects and lists"),
        (_nested(100_000), "more than 5000 values"),
        (b"[" * 200_000, "more than 5000 values"),
        (MANY_MEMBERS, "more than 5000 values"),
        (MANY_ITEMS, "more than 5000 values"),
    ],
    ids=["50", "900", "3000", "100000", "unterminated", "members", "items"],
)
@each("route", ["POST /events", "PUT /preferences", "POST /test"])
def test_too_many_levels_or_values_are_422(shared_api: ApiServer, route: str, body: bytes, message: str) -> None:
    method, path = route.split()
    answer = shared_api.ask(method, path, body)
    is_problem(answer, 422)
    assert message in answer.json["detail"]


def test_commas_and_brackets_in_a_string_are_no_values(api: ApiServer) -> None:
    body = {"event_type": "generic_alert", "title": "x", "message": '[{,"\\' * 20_000}
    assert api.ask("POST", "/events", body).status == 202


def test_a_large_body_that_ends_within_a_string_is_400(shared_api: ApiServer) -> None:
    is_problem(shared_api.ask("POST", "/events", UNTERMINATED), 400)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_json_is_parsed_under_any_content_type(api: ApiServer, content_type: str) -> None:
    answer = api.ask("POST", "/events", json.dumps(EVENT).encode(), headers={"Content-Type": content_type})
    assert answer.status == 202


@pytest.mark.parametrize("accept", ["text/html", "application/xml;q=0.5", "*/*", "", "\xff"])
def test_an_odd_accept_header_is_answered_with_json(shared_api: ApiServer, accept: str) -> None:
    assert (
        shared_api.ask("GET", "/preferences", headers={"Accept": accept}).headers["content-type"] == "application/json"
    )


@pytest.mark.parametrize("route", ["POST /events", "PUT /preferences", "POST /test"])
def test_a_body_above_a_megabyte_is_413(shared_api: ApiServer, route: str) -> None:
    method, path = route.split()
    is_problem(shared_api.ask(method, path, {"title": "x" * 1_100_000}), 413)


def test_a_body_of_unknown_length_above_a_megabyte_is_413(shared_api: ApiServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_api.port, timeout=30)
    headers = {"Authorization": f"Bearer {shared_api.tokens['admin']}", "Transfer-Encoding": "chunked"}
    chunks = (b" " * 65_536 for _ in range(17))
    connection.request("POST", f"{BASE}/events", chunks, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_caller_that_hangs_up_in_the_middle_of_its_body_is_no_failure_of_the_daemon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'alertctl.db'}")
    upgrade(store)
    with running(store) as api:
        head = f"POST {BASE}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.tokens['developer']}\r\n"
        with socket.create_connection(("127.0.0.1", api.port)) as caller:
            caller.sendall(f"{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode())
            # It is being read by now.
            assert caller.recv(1000).startswith(b"HTTP/1.1 100 ")
            caller.sendall(b'{"type": ')
    store.close()
    assert [item.getMessage() for item in caplog.records if item.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize(
    ("route", "body"),
    [("GET /preferences", None), ("PUT /preferences", {}), ("POST /events", EVENT), ("GET /delivery-log", None)],
)
def test_an_unreachable_database_is_503_with_retry_after(tmp_path: Path, route: str, body: object) -> None:
    path = tmp_path / "away.db"
    store = Store(f"sqlite:///{path}")
    upgrade(store)
    with running(store) as api:
        store.close()
        for part in tmp_path.glob("away.db*"):
            part.unlink()
        path.mkdir()
        method, path = route.split()
        answer = api.ask(method, path, body)
        is_problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert str(tmp_path) not in answer.json["detail"]
    store.close()


def test_a_test_message_is_answered_with_the_truth(api: ApiServer) -> None:
    answer = api.ask("POST", "/test", {"channel": "slack"}, by="developer")
    assert answer.json == {"success": True, "message": "Test notification sent to #platform-alerts"}
    api.result = ConnectivityTestResult(
        success=False, message="Not delivered to #x: channel_not_found", delivery_id="0191"
    )
    answer = api.ask("POST", "/test", {"channel": "slack", "to": "#x"}, by="developer")
    assert (answer.status, answer.json["success"]) == (200, False)
    assert "channel_not_found" in answer.json["message"]
    assert answer.headers["content-location"].endswith("/delivery-log/0191")
    assert api.tests[-1] == ("slack", "#x", "developer@corp.example")


def test_tests_of_a_silent_provider_do_not_block_other_calls(api: ApiServer) -> None:
    api.provider_answers.clear()
    with ThreadPoolExecutor(60) as callers:
        calls = [callers.submit(api.ask, "POST", "/test", {"channel": "slack"}, by="developer") for _ in range(60)]
        refused = [item.result() for item in islice(as_completed(calls), 60 - MAX_RUNNING)]
        assert api.call("GET", "/readyz", by=None).status == 200
        api.provider_answers.set()
    for answer in refused:
        is_problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
    assert sorted(item.result().status for item in calls) == [200] * MAX_RUNNING + [503] * (60 - MAX_RUNNING)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "channel"),
        ({"channel": "fax"}, "channel"),
        ({"channel": "slack", "to": 1}, "to"),
        ({"channel": "email", "x": 1}, "x"),
    ],
)
def test_a_wrong_test_is_422(shared_api: ApiServer, body: object, field: str) -> None:
    answer = shared_api.ask("POST", "/test", body)
    is_problem(answer, 422)
    assert field in {item["field"] for item in answer.json["errors"]}


def test_the_process_says_how_it_is_without_a_token(api: ApiServer) -> None:
    assert api.call("GET", "/healthz", by=None).json == {"status": "ok"}
    assert api.call("GET", "/readyz", by=None).json["parts"] == api.parts
    assert b"alertctl_events_accepted_total" in api.call("GET", "/metrics", by=None).body
    assert api.call("GET", "/docs", by=None).status == 200
    api.parts["scheduler"] = "no heartbeat for a minute"
    away = api.call("GET", "/readyz", by=None)
    is_problem(away, 503)
    assert "no heartbeat" in away.json["detail"]
