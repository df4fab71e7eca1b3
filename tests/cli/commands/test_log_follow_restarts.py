"""`log -f` on a server that is restarted in the middle: every delivery's last state is seen, and no state twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from alertctl.client.remote import RemoteClient
from alertctl.client.server_config import ServerConfig as Address
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest
from tests.support.cli import data
from tests.support.clients import token_for
from tests.support.log_follower import Follower, followers
from tests.support.machines import Server

TARGETS = 20
"""Deliveries of one event."""
LAST = "#the-last-one"


@pytest.fixture
def follow() -> Iterator[Any]:
    with followers() as start:
        yield start


@pytest.fixture
def server(log_on: str, tmp_path: Path, sandbox: Sandbox) -> Iterator[Server]:
    machine = Server(tmp_path / "server", sandbox, DATABASE_URL=log_on, ALERTCTL_LEASE="1", ALERTCTL_DEADLINE="500ms")
    machine.up()
    yield machine
    machine.down()


class Publisher:
    """Publishes through the server, which comes and goes; each event once, however often it has to ask."""

    def __init__(self, server: Server, token: str, events: int) -> None:
        self._address = Address(server.address, token, timeout=60)
        self._remaining = iter(range(events))
        self._lock = threading.Lock()
        self.published = 0

    def __call__(self) -> None:
        with RemoteClient(self._address) as client:
            while (number := self._next()) is not None:
                self._publish(client, f"event {number}", [f"slack:#{number}-{each}" for each in range(TARGETS)])

    def _next(self) -> int | None:
        with self._lock:
            return next(self._remaining, None)

    def _publish(self, client: RemoteClient, title: str, to: list[str]) -> None:
        client.publish(PublishRequest(event_type="generic_alert", fields={"title": title}, to=to))
        with self._lock:
            self.published += 1

    def the_last_one(self) -> None:
        with RemoteClient(self._address) as client:
            self._publish(client, "the end", [f"slack:{LAST}"])


def states(follower: Follower) -> list[tuple[Any, ...]]:
    return [tuple(item[name] for name in ("id", "status", "error", "attempts")) for item in follower.items()]


def test_every_last_state_is_seen_and_none_twice(server: Server, sandbox: Sandbox, follow, long: bool) -> None:
    count = 5000 if long else 300
    # Slow enough that both interruptions come before the last result, also on a fast or busy machine.
    sandbox.slack.latency = 0.2
    sandbox.slack.faults.sometimes("http_503", 0.2, seed=1)
    sandbox.slack.faults.sometimes("slack:is_archived", 0.05, seed=2)
    token = token_for(server.settings["DATABASE_URL"], "admin@corp.example", "admin")
    follower: Follower = follow(
        os.environ | {"ALERTCTL_SERVER": server.address, "ALERTCTL_TOKEN": token}, "--since", "1h", "-o", "jsonl"
    )
    publisher = Publisher(server, token, count // TARGETS)
    with ThreadPoolExecutor(4) as pool:
        publishing = [pool.submit(publisher) for _ in range(4)]
        for share, how in ((0.25, signal.SIGTERM), (0.6, signal.SIGKILL)):
            follower.wait_count(int(count * share))
            assert not all_ended(follower, count), "too late to interrupt anything"
            server.down(how)
            server.up()
        sandbox.slack.latency = 0.0
        for each in publishing:
            each.result()
    follower.wait(lambda _: all_ended(follower, count))
    sandbox.slack.faults.at(LAST, "ok")
    publisher.the_last_one()
    follower.wait_for(LAST, "success")
    code, stderr = follower.ctrl_c()
    assert (code, "Traceback" in stderr) == (130, False), stderr
    in_the_log = {item["id"]: item for item in data("log", "--limit", str(count + 1))["items"]}
    assert len(in_the_log) == count + 1
    assert last_states(follower) == in_the_log
    assert len(states(follower)) == len(set(states(follower))), "a state was shown twice"


def last_states(follower: Follower) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in follower.items()}


def all_ended(follower: Follower, count: int) -> bool:
    deliveries = last_states(follower).values()
    return len(deliveries) == count and all(item["next_attempt_at"] is None for item in deliveries)
