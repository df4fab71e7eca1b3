"""The delivery log's stream over HTTP: new and changed deliveries, and resuming after a break."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from alertctl import outbox
from alertctl.api.endpoints.stream import MAX_STREAMS
from alertctl.channels.base import Receipt
from alertctl.outbox import AttemptResult, ClaimScope
from tests.support.api_server import BASE, ApiServer, now
from tests.support.waiting import wait_until

SLACK = ClaimScope("slack", "slack")


class Stream:
    """One connection that follows. `heard` are (address, status) of what came since it was last asked."""

    def __init__(self, api: ApiServer, query: str = "", **headers: str) -> None:
        api.stopping = False
        self._connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
        head = {
            "Authorization": f"Bearer {api.tokens['admin']}",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        self._connection.request("GET", f"{BASE}/delivery-log/stream{query}", headers=head)
        self.reply = self._connection.getresponse()
        self.last_id = ""
        if self.reply.status == 200:
            self._block()

    def _block(self) -> list[str]:
        lines = []
        while (line := self.reply.readline().decode().rstrip("\n")) != "":
            lines.append(line)
            if line.startswith("id: "):
                self.last_id = line[4:]
        return lines

    def heard(self, count: int) -> list[tuple[str, str]]:
        events: list[tuple[str, str]] = []
        while len(events) < count:
            for line in self._block():
                if line.startswith("data: "):
                    item = json.loads(line[6:])
                    events.append((item["to"], item["status"]))
        return events

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def stream(api: ApiServer) -> Iterator[Any]:
    opened: list[Stream] = []

    def open_one(query: str = "", **headers: str) -> Stream:
        opened.append(Stream(api, query, **headers))
        return opened[-1]

    yield open_one
    api.stopping = True
    for item in opened:
        item.close()


def publish(api: ApiServer, *to: str) -> None:
    body = {"event_type": "rollout_advance", "to": list(to)}
    assert api.ask("POST", "/events", body, by="developer").status == 202


def deliver(api: ApiServer) -> None:
    def work(connection: Any) -> None:
        taken = outbox.claim(connection, SLACK, (50,) * 4, now(), 30.0).taken
        outbox.record(
            connection, SLACK, [AttemptResult(item, Receipt("1"), 5) for item in taken], (), 1e6, now(), lambda: 0.0
        )

    api.store.write(work)


@pytest.mark.postgres
def test_a_follower_hears_what_comes_and_what_becomes_of_it(api: ApiServer, stream: Any) -> None:
    publish(api, "slack:#before")
    follower = stream()
    assert follower.reply.getheader("content-type").startswith("text/event-stream")
    publish(api, "slack:#a", "slack:#b")
    assert follower.heard(2) == [("#a", "pending"), ("#b", "pending")]
    deliver(api)
    assert sorted(follower.heard(3)) == [("#a", "success"), ("#b", "success"), ("#before", "success")]


def test_history_comes_first_if_it_is_asked_for(api: ApiServer, stream: Any) -> None:
    publish(api, "slack:#a")
    follower = stream("?since=2020-01-01")
    publish(api, "slack:#b")
    assert follower.heard(2) == [("#a", "pending"), ("#b", "pending")]


def test_a_follower_that_comes_back_misses_nothing_and_hears_nothing_twice(api: ApiServer, stream: Any) -> None:
    follower = stream()
    publish(api, "slack:#a")
    assert follower.heard(1) == [("#a", "pending")]
    last_id = follower.last_id
    follower.close()
    publish(api, "slack:#b")
    again = stream(Last_Event_ID=last_id)
    publish(api, "slack:#c")
    assert again.heard(2) == [("#b", "pending"), ("#c", "pending")]


def test_filters_hold_while_following(api: ApiServer, stream: Any) -> None:
    follower = stream("?status=success&to=%23B")
    publish(api, "slack:#a", "slack:#b")
    deliver(api)
    assert follower.heard(1) == [("#b", "success")]


def test_a_stream_ends_when_the_daemon_does(api: ApiServer, stream: Any) -> None:
    follower = stream()
    api.stopping = True
    assert follower.reply.read() == b""


def test_a_stream_tells_nothing_more_once_its_token_is_revoked(api: ApiServer, stream: Any) -> None:
    token = api.token("guest", "admin")
    follower = stream(Authorization=f"Bearer {token}")
    publish(api, "slack:#a")
    assert follower.heard(1) == [("#a", "pending")]
    (token_id,) = (item["id"] for item in api.ask("GET", "/admin/tokens").json["items"] if token.endswith(item["hint"]))
    assert api.ask("DELETE", f"/admin/tokens/{token_id}").status == 200
    publish(api, "slack:#b")
    assert b"#b" not in follower.reply.read()


@pytest.mark.parametrize("query", ["?after=nonsense", "?status=nope", "?since=soon", "?page=1"])
def test_a_stream_with_an_invalid_filter_is_refused(api: ApiServer, query: str) -> None:
    assert api.ask("GET", f"/delivery-log/stream{query}").status == 422


@pytest.mark.postgres
def test_streams_that_open_at_the_same_time_stay_within_the_limit(api: ApiServer, stream: Any) -> None:
    with ThreadPoolExecutor(MAX_STREAMS + 10) as pool:
        followers = list(pool.map(lambda _: stream(), range(MAX_STREAMS + 10)))
    refused = [follower for follower in followers if follower.reply.status == 503]
    assert len(refused) == 10
    assert {follower.reply.getheader("Retry-After") for follower in refused} == {"2"}
    for follower in followers:
        follower.close()
    wait_until(lambda: stream().reply.status == 200)


def test_a_refused_stream_does_not_count(api: ApiServer, stream: Any) -> None:
    for _ in range(MAX_STREAMS + 1):
        assert api.ask("GET", "/delivery-log/stream?after=nonsense").status == 422
    assert stream().reply.status == 200
