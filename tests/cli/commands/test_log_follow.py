"""`alertctl log -f`, as processes: existing, new and changed deliveries; each state once, also after a break."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alertctl.cli.output.deliveries import FIELDS
from alertctl.sandbox import Sandbox
from tests.support.cli import dispatched, run
from tests.support.cli_command import write_command
from tests.support.clients import token_for
from tests.support.log_follower import TIMEOUT, Follower, followers
from tests.support.machines import Server

ALERT = ("--event", "generic_alert", "--title", "disk full")


def send_alert(*to: str, options: tuple[str, ...] = ALERT) -> None:
    ran = run("send", *options, *(part for target in to for part in ("--to", target)))
    assert ran.exit_code == 0, ran.stderr


@pytest.fixture
def follow() -> Iterator[Any]:
    with followers() as start:
        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment of a client of a server without a dispatcher; this process uses the server's database."""
    folder = tmp_path_factory.mktemp("server")
    with Sandbox() as unused:
        machine = Server(folder / "home", unused, DATABASE_URL=f"sqlite:///{folder / 'log.db'}")
        machine.up("--no-scheduler")
        url = machine.settings["DATABASE_URL"]
        token = token_for(url, "admin@corp.example", "admin")
        yield {"ALERTCTL_SERVER": machine.address, "ALERTCTL_TOKEN": token, "DATABASE_URL": url}
        machine.down()


@pytest.fixture(params=["sqlite", "postgres", "server"])
def location(request, monkeypatch, slack_and_email: Sandbox) -> dict[str, str]:
    """Return the follower's environment, on a database or a server; `run` uses the same log."""
    if request.param == "postgres":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_url"))
    elif request.param == "server":
        access = request.getfixturevalue("server")
        monkeypatch.setenv("DATABASE_URL", access["DATABASE_URL"])
        assert run("log", "prune", "--older-than", "1ms", "--yes").exit_code == 0
        return dict(os.environ) | access
    return dict(os.environ)


@pytest.mark.postgres
def test_existing_deliveries_come_first_then_each_new_state_once(location, follow) -> None:
    send_alert("slack:#ops", "slack:#missing", "slack:#flaky")
    follower = follow(location, "--since", "1h", "-o", "jsonl")
    follower.wait_count(3)
    assert follower.states() == [
        ("#ops", "success", None, 1),
        ("#missing", "failed", "channel_not_found", 1),
        ("#flaky", "failed", "http_503", 1),
    ]
    dispatched()
    follower.wait_count(4)
    assert follower.states()[3:] == [("#flaky", "success", None, 2)]
    send_alert("slack:#later")
    follower.wait_for("#later", "success")
    states = follower.states()
    assert len(states) == len(set(states)), "a state was shown twice"
    assert follower.ctrl_c() == (130, "")


@pytest.mark.parametrize("location", ["sqlite", "server"], indirect=True)
def test_without_since_the_last_deliveries_come_first(location, follow) -> None:
    for number in range(4):
        send_alert(f"slack:#n{number}")
    follower = follow(location, "--limit", "2", "-o", "jsonl", "--status", "success")
    follower.wait_count(2)
    send_alert("slack:#missing", "slack:#new")
    follower.wait_for("#new")
    assert [(to, status) for to, status, _, _ in follower.states()] == [
        (to, "success") for to in ("#n2", "#n3", "#new")
    ]
    assert follower.ctrl_c() == (130, "")


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)
def test_a_repeated_refusal_is_shown_again(location, follow, monkeypatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-revoked")
    send_alert("slack:#one")
    follower = follow(location, "--since", "1h", "-o", "jsonl")
    follower.wait(lambda _: ("#one", "failed", "invalid_auth", 1) in follower.states())
    assert run("log", "retry", "--error", "invalid_auth", "--queue").exit_code == 0
    follower.wait(lambda _: follower.states()[-1][1] == "pending")
    dispatched()
    follower.wait(lambda _: ("#one", "failed", "invalid_auth", 2) in follower.states())
    assert follower.ctrl_c() == (130, "")


@pytest.mark.parametrize("location", ["postgres", "server"], indirect=True)
def test_filters_apply_to_existing_and_new_deliveries(location, follow) -> None:
    rollback = ("--event", "safety_rollback", "--set", "feature_flag=checkout-v3")
    expected = {
        ("--channel", "email"): ["a@corp.example", "b@corp.example"],
        ("--flag", "checkout-v3", "--final"): ["#rolled", "b@corp.example", "#back"],
        ("--error", "channel_not_found"): ["#missing", "#missing"],
        ("--grep", "CHECKOUT", "--channel", "slack", "--status", "success"): ["#rolled", "#back"],
    }
    send_alert("slack:#ops", "email:a@corp.example", "slack:#missing")
    send_alert("slack:#rolled", options=rollback)
    running = {filters: follow(location, "--since", "1h", "-o", "jsonl", *filters) for filters in expected}
    for follower in running.values():
        follower.wait_count(1)
    send_alert("slack:#other", "slack:#missing")
    send_alert("email:b@corp.example", options=rollback)
    send_alert("slack:#back", options=rollback)
    for filters, follower in running.items():
        count = len(expected[filters])
        follower.wait(lambda lines, count=count: len([line for line in list(lines) if "pending" not in line]) >= count)
        # What is pending may have been seen so; its verdict is a state of its own.
        assert [to for to, status, _, _ in follower.states() if status != "pending"] == expected[filters]
        assert follower.ctrl_c() == (130, "")


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)
def test_every_output_format_shows_the_same_deliveries(location, follow) -> None:
    outputs = ("jsonl", "json", "csv", "id", "table", "wide")
    running = {output: follow(location, "--since", "1h", "--final", "-o", output) for output in outputs}
    send_alert("slack:#ops", "slack:#missing")
    for output, follower in running.items():
        follower.wait_count(3 if output in ("csv", "table", "wide") else 2)
        assert follower.ctrl_c() == (130, "")
    items = running["jsonl"].items()
    assert [(item["to"], item["status"]) for item in items] == [("#ops", "success"), ("#missing", "failed")]
    assert running["json"].items() == items
    assert running["id"].lines == [item["id"] for item in items]
    rows = list(csv.DictReader(running["csv"].lines))
    assert [tuple(row) for row in rows] == [FIELDS] * 2
    assert [row["id"] for row in rows] == running["id"].lines
    for output in ("table", "wide"):
        heading, *lines = running[output].lines
        assert heading.split()[0] == "ID"
        assert [items[index]["id"][-8:] in line for index, line in enumerate(lines)] == [True] * 2
    assert max(map(len, running["table"].lines)) <= 80


@pytest.mark.parametrize("location", ["sqlite", "server"], indirect=True)
def test_a_closed_pipe_ends_it_quietly_even_while_nothing_changes(location, tmp_path: Path) -> None:
    send_alert("slack:#ops")
    command = f"{write_command(tmp_path / 'alertctl')} log -f --since 1h -o jsonl | head -1"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=location, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (ran.returncode, json.loads(ran.stdout)["to"], ran.stderr) == (0, "#ops", "")


@pytest.mark.parametrize(
    ("environ", "code", "message"),
    [
        (
            {"ALERTCTL_SERVER": "http://127.0.0.1:1", "ALERTCTL_TOKEN": "t", "ALERTCTL_TIMEOUT": "200ms"},
            5,
            "127.0.0.1:1",
        ),
        ({"ALERTCTL_SERVER": "http://127.0.0.1:1"}, 4, "ALERTCTL_TOKEN is not set"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, 5, "127.0.0.1"),
    ],
)
def test_a_log_that_cannot_be_followed_is_one_line(environ, code, message, follow) -> None:
    follower: Follower = follow(os.environ | environ)
    assert follower.process.wait(TIMEOUT) == code
    assert follower.process.stderr is not None
    words = follower.process.stderr.read()
    assert (message in words, words.count("\n"), follower.lines) == (True, 1, [])


def test_it_never_ends_so_it_never_counts() -> None:
    ran = run("log", "-f", "--fail-if-any")
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert "can't be combined with --follow" in ran.stderr
