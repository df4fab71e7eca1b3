"""`alertctl log -f`, as processes: what was there, what comes and what changes; each state once, whatever breaks."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from alertctl.cli.commands.log_export import FIELDS
from alertctl.sandbox import Sandbox
from cli.following import SECONDS, Follower, followers
from cli.lab import COMMAND, dispatched, run
from tests.client.lab import token_for
from tests.stories.frame import Server

ALERT = ("--event", "generic_alert", "--title", "disk full")


def tell(*to: str, options: tuple[str, ...] = ALERT) -> None:
    ran = run("send", *options, *(part for one in to for part in ("--to", one)))
    assert ran.exit_code == 0, ran.stderr


@pytest.fixture
def follow() -> Iterator[Any]:
    with followers() as start:
        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of whoever follows a server that sends nothing by itself, and of who sends on its database."""
    folder = tmp_path_factory.mktemp("server")
    with Sandbox() as unused:
        machine = Server(folder / "home", unused, DATABASE_URL=f"sqlite:///{folder / 'log.db'}")
        machine.up("--no-scheduler")
        url = machine.settings["DATABASE_URL"]
        token = token_for(url, "admin@corp.example", "admin")
        yield {"ALERTCTL_SERVER": machine.address, "ALERTCTL_TOKEN": token, "DATABASE_URL": url}
        machine.down()


@pytest.fixture(params=["sqlite", "postgres", "server"])
def place(request, monkeypatch, slack_and_email: Sandbox) -> dict[str, str]:
    """The environment of whoever follows, on a database or on a server; what `run` does it does on the same log."""
    if request.param == "postgres":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_url"))
    elif request.param == "server":
        access = request.getfixturevalue("server")
        monkeypatch.setenv("DATABASE_URL", access["DATABASE_URL"])
        assert run("log", "prune", "--older-than", "1ms", "--yes").exit_code == 0
        return dict(os.environ) | access
    return dict(os.environ)


def test_what_was_there_comes_first_then_what_changes_each_state_once(place, follow) -> None:
    tell("slack:#ops", "slack:#missing", "slack:#flaky")
    one = follow(place, "--since", "1h", "-o", "jsonl")
    one.wait_count(3)
    assert one.states() == [
        ("#ops", "success", None, 1),
        ("#missing", "failed", "channel_not_found", 1),
        ("#flaky", "failed", "http_503", 1),
    ]
    dispatched()
    one.wait_count(4)
    assert one.states()[3:] == [("#flaky", "success", None, 2)]
    tell("slack:#later")
    one.wait_for("#later", "success")
    told = one.states()
    assert len(told) == len(set(told)), "a state was shown twice"
    assert one.ctrl_c() == (130, "")


@pytest.mark.parametrize("place", ["sqlite", "server"], indirect=True)
def test_without_a_time_the_last_ones_come_first(place, follow) -> None:
    for number in range(4):
        tell(f"slack:#n{number}")
    one = follow(place, "--limit", "2", "-o", "jsonl", "--status", "success")
    one.wait_count(2)
    tell("slack:#missing", "slack:#new")
    one.wait_for("#new")
    assert [(to, status) for to, status, _, _ in one.states()] == [(to, "success") for to in ("#n2", "#n3", "#new")]
    assert one.ctrl_c() == (130, "")


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_what_is_refused_again_is_shown_again(place, follow, monkeypatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-revoked")
    tell("slack:#one")
    one = follow(place, "--since", "1h", "-o", "jsonl")
    one.wait(lambda _: ("#one", "failed", "invalid_auth", 1) in one.states())
    assert run("log", "retry", "--error", "invalid_auth", "--queue").exit_code == 0
    one.wait(lambda _: one.states()[-1][1] == "pending")
    dispatched()
    one.wait(lambda _: ("#one", "failed", "invalid_auth", 2) in one.states())
    assert one.ctrl_c() == (130, "")


@pytest.mark.parametrize("place", ["postgres", "server"], indirect=True)
def test_filters_hold_for_what_was_there_and_for_what_comes(place, follow) -> None:
    rollback = ("--event", "safety_rollback", "--set", "feature_flag=checkout-v3")
    wanted = {
        ("--channel", "email"): ["a@corp.example", "b@corp.example"],
        ("--flag", "checkout-v3", "--final"): ["#rolled", "b@corp.example", "#back"],
        ("--error", "channel_not_found"): ["#missing", "#missing"],
        ("--grep", "CHECKOUT", "--channel", "slack", "--status", "success"): ["#rolled", "#back"],
    }
    tell("slack:#ops", "email:a@corp.example", "slack:#missing")
    tell("slack:#rolled", options=rollback)
    running = {asked: follow(place, "--since", "1h", "-o", "jsonl", *asked) for asked in wanted}
    for one in running.values():
        one.wait_count(1)
    tell("slack:#other", "slack:#missing")
    tell("email:b@corp.example", options=rollback)
    tell("slack:#back", options=rollback)
    for asked, one in running.items():
        count = len(wanted[asked])
        one.wait(lambda lines, count=count: len([line for line in list(lines) if "pending" not in line]) >= count)
        # What is pending may have been seen so; its verdict is a state of its own.
        assert [to for to, status, _, _ in one.states() if status != "pending"] == wanted[asked]
        assert one.ctrl_c() == (130, "")


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_every_output_tells_the_same(place, follow) -> None:
    outputs = ("jsonl", "json", "csv", "id", "table", "wide")
    running = {output: follow(place, "--since", "1h", "--final", "-o", output) for output in outputs}
    tell("slack:#ops", "slack:#missing")
    for output, one in running.items():
        one.wait_count(3 if output in ("csv", "table", "wide") else 2)
        assert one.ctrl_c() == (130, "")
    items = running["jsonl"].items()
    assert [(one["to"], one["status"]) for one in items] == [("#ops", "success"), ("#missing", "failed")]
    assert running["json"].items() == items
    assert running["id"].lines == [one["id"] for one in items]
    rows = list(csv.DictReader(running["csv"].lines))
    assert [tuple(row) for row in rows] == [FIELDS] * 2
    assert [row["id"] for row in rows] == running["id"].lines
    for output in ("table", "wide"):
        heading, *lines = running[output].lines
        assert heading.split()[0] == "ID"
        assert [items[place]["id"][-8:] in line for place, line in enumerate(lines)] == [True] * 2
    assert max(map(len, running["table"].lines)) <= 80


@pytest.mark.parametrize("place", ["sqlite", "server"], indirect=True)
def test_a_reader_who_has_enough_ends_it_quietly_also_while_nothing_comes(place) -> None:
    tell("slack:#ops")
    command = f"{shlex.join(COMMAND)} log -f --since 1h -o jsonl | head -1"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=place, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (ran.returncode, json.loads(ran.stdout)["to"], ran.stderr) == (0, "#ops", "")


@pytest.mark.parametrize(
    ("environ", "code", "said"),
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
def test_what_can_not_be_followed_is_said_in_one_line(environ, code, said, follow) -> None:
    one: Follower = follow(os.environ | environ)
    assert one.process.wait(SECONDS) == code
    assert one.process.stderr is not None
    words = one.process.stderr.read()
    assert (said in words, words.count("\n"), one.lines) == (True, 1, [])


def test_it_never_ends_so_it_never_counts() -> None:
    ran = run("log", "-f", "--fail-if-any")
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert "without -f" in ran.stderr
