"""The same commands on a server: the same output, the same exit codes, and none of the database's libraries."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alertctl import users
from alertctl.client.local import LocalClient
from alertctl.db import Store
from alertctl.sandbox import Sandbox
from tests.docs.compare import shape
from tests.support.cli import loaded_modules, process, run
from tests.support.clients import ADMIN, QUICK, now, rollback, serving, settings_on, token_for

HERE, THERE = "here", "there"
HEAVY = (
    *("sqlmodel", "sqlalchemy", "alembic", "fastapi", "uvicorn", "slack_sdk", "sendgrid", "jinja2", "psycopg"),
    *("tomllib", "dotenv", "alertctl.config.settings", "alertctl.events", "alertctl.publish", "alertctl.db"),
    *("alertctl.content", "alertctl.schemas.delivery_detail"),
)


class Places:
    """One log, reached from this machine or through its server, as the environment says."""

    def __init__(self, settings: dict[str, str], address: str, token: str) -> None:
        self.settings, self.address, self.token = settings, address, token

    @property
    def url(self) -> str:
        return self.settings["DATABASE_URL"]

    def go(self, monkeypatch: pytest.MonkeyPatch, location: str) -> None:
        for name, value in self.settings.items():
            monkeypatch.setenv(name, value)
        for name, value in {"ALERTCTL_SERVER": self.address, "ALERTCTL_TOKEN": self.token}.items():
            monkeypatch.delenv(name, raising=False)
            if location == THERE:
                monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    url = f"sqlite:///{tmp_path_factory.mktemp('served') / 'alertctl.db'}"
    with Sandbox() as sandbox:
        settings = settings_on(url, sandbox.settings())
        token = token_for(url, ADMIN, "admin")
        with LocalClient(settings) as client:
            for to in ("slack:#ops", "email:ana@corp.example", "slack:#missing"):
                client.deliver(client.publish(rollback(to)).event_id)
        with serving(settings) as address:
            yield Places({**QUICK, **sandbox.settings(), "DATABASE_URL": url}, address, token)


READING = [
    "log",
    "log -o json",
    "log -o jsonl --limit 2",
    "log -o csv",
    "log -o id --channel slack",
    "log -o wide --utc",
    "log --status failed",
    "log --status failed --fail-if-any",
    "log --to #OPS --since 1h --final",
    "log --grep checkout --flag checkout-v3",
    "log --status fialed",
    "log --event safety",
    "log stats",
    "log stats --by error -o json",
    "log stats --status failed --since 2h",
    "log export -",
    "log export - -o csv --channel email",
    "log prune --older-than 0d --dry-run",
    "log retry --status failed --dry-run",
    "log show ffffffff",
    "log retry ffffffff",
    "send --event safety_rollback --set feature_flag=x --to slack:#ops --dry-run",
    "send --event safety_rolback",
    "send --event safety_rollback --set value=much",
    "send --event safety_rollback --set vlaue=1 --to #ops --dry-run",
    "send --event generic_alert",
    "send --event generic_alert --title x --to pager:x",
    f"prefs get --user {ADMIN} -o json",
    "prefs get --user nobody@corp.example",
    "prefs list",
    "prefs set --user admin@corp.example slack_channel=two_words,x",
    "user list",
    "user add ana",
    "user set-role nobody@corp.example viewer",
    "user set-email nobody@corp.example ana@corp.example",
    "user unlink nobody@corp.example",
    f"user remove {ADMIN}",
    "token revoke ffffffff",
    "events",
    "events generic_alert -o json",
    "dispatch --once",
    "test pager",
]


@pytest.mark.parametrize("line", READING)
def test_reads_and_refusals_are_the_same_locally_and_remotely(
    places: Places, monkeypatch: pytest.MonkeyPatch, line: str
):
    outputs = []
    for location in (HERE, THERE):
        places.go(monkeypatch, location)
        ran = run(*line.split())
        outputs.append((ran.exit_code, shape(ran.stdout), shape(ran.stderr)))
    assert outputs[0] == outputs[1]
    assert outputs[0][1] or outputs[0][2]


def test_own_preferences_need_no_user_on_a_server(places: Places, monkeypatch: pytest.MonkeyPatch):
    places.go(monkeypatch, THERE)
    changed = run("prefs", "set", "slack_channel=#mine", "-o", "json")
    assert (changed.exit_code, json.loads(changed.stdout)["slack_channel"]) == (0, "#mine")
    assert run("prefs", "get", "-o", "json").stdout == run("prefs", "get", "--user", ADMIN, "-o", "json").stdout
    assert json.loads(run("prefs", "reset", "-o", "json").stdout)["slack_channel"] is None


WRITING = [
    "send --event safety_rollback --set feature_flag=x --to slack:#ops",
    "send --event safety_rollback --set feature_flag=x --to slack:#ops -o json",
    "send --event generic_alert --title x --to slack:#missing --strict",
    "send --event generic_alert --title x --to slack:#ops --queue",
    "send --event generic_alert --title x --to email:ana@corp.example --wait=10s",
    "test slack --to #ops",
    "test slack --to #missing",
    f"prefs set --user {ADMIN} notify_on_rollout_advance=on slack_channel=#mine",
    f"prefs reset --user {ADMIN}",
]


@pytest.mark.parametrize("line", WRITING)
def test_changes_print_the_same_locally_and_remotely(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, line: str
):
    # The daemon runs in this process: what it logs is not the command's output.
    caplog.set_level(logging.ERROR, "alertctl.dispatcher")
    outputs = []
    for location in (HERE, THERE):
        places.go(monkeypatch, location)
        ran = run(*line.split())
        outputs.append((ran.exit_code, _timeless(ran.stdout), _hint_for_developers(shape(ran.stderr))))
        # A developer's token may publish and test, but not read the log.
        assert location == HERE or "log show" not in ran.stderr
    assert outputs[0] == outputs[1]


def _hint_for_developers(errors: str) -> str:
    """Return the errors with a delivery's id in place of the local hint to `log show`."""
    return re.sub(r"(see: )?alertctl log show ", "delivery ", errors)


def _timeless(stdout: str) -> str:
    if not stdout.startswith("{"):
        return shape(stdout)
    body = json.loads(stdout)
    for item in body.get("deliveries", body.get("items", [])):
        item["latency_ms"] = None
    return shape(json.dumps(body))


def test_a_retry_by_filters_is_the_same_and_names_its_requester(places: Places, monkeypatch: pytest.MonkeyPatch):
    for location, number in ((HERE, 2), (THERE, 3)):
        places.go(monkeypatch, location)
        ran = run("log", "--status", "failed", "--to", "#missing", "--grep", "checkout", "retry")
        assert (ran.exit_code, "#missing" in ran.stdout) == (0, True)
        (delivery_id,) = run("log", "--to", "#missing", "--grep", "checkout", "-o", "id").stdout.split()
        detail = json.loads(run("log", "show", delivery_id, "-o", "json").stdout)
        assert len(detail["attempt_log"]) == number
        assert detail["attempt_log"][-1]["requested_by"]


@pytest.mark.parametrize(
    "command", ["log", "send --event generic_alert --title x --to slack:#ops", "status", f"prefs get --user {ADMIN}"]
)
def test_a_remote_command_loads_nothing_of_databases_channels_and_settings(
    places: Places, monkeypatch: pytest.MonkeyPatch, command: str
):
    places.go(monkeypatch, THERE)
    for name in QUICK:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALERTCTL_LOG_FORMAT", "json")
    loaded = loaded_modules(*command.split())
    assert loaded & set(HEAVY) == set()
    assert "alertctl.schemas.routes" not in loaded
    for name in ("alertctl.schemas.log", "alertctl.schemas.messages"):
        assert (name in loaded) == (command == "log")


def expired(places: Places) -> str:
    store = Store(places.url)
    past = now() - timedelta(days=2)
    secret = store.write(lambda it: users.create_token(it, ADMIN, "admin", timedelta(days=1), past))[1]
    store.close()
    return secret


@pytest.mark.parametrize("command", ["log", "status", "send --event generic_alert --title x --to slack:#ops"])
@pytest.mark.parametrize("whose", ["nobody's", "expired", "a viewer's"])
def test_a_missing_permission_ends_with_4(places: Places, monkeypatch: pytest.MonkeyPatch, command: str, whose: str):
    places.go(monkeypatch, THERE)
    secret = {
        "nobody's": lambda: "actl_nothing",
        "expired": lambda: expired(places),
        "a viewer's": lambda: token_for(places.url, "viewer@corp.example", "viewer"),
    }[whose]()
    monkeypatch.setenv("ALERTCTL_TOKEN", secret)
    ran = run(*command.split(), *(["--strict"] if command.startswith("send") else []))
    # `send` has a second line: where the event waits.
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (4, "", 2 if command.startswith("send") else 1)
    assert secret not in ran.stderr


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a server address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("ALERTCTL_SERVER", f"http://127.0.0.1:{taken.getsockname()[1]}")
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    monkeypatch.setenv("ALERTCTL_TIMEOUT", "300ms")


@pytest.mark.parametrize("command", ["log", "log -f", "status", "user list", "dispatch --once", "log retry ffffffff"])
def test_an_unreachable_server_is_exit_code_5(nobody, command: str):
    ran = run(*command.split())
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (5, "", 1)


def test_send_goes_on_without_its_server_unless_it_is_strict(nobody):
    send = ("send", "--event", "generic_alert", "--title", "x", "--to", "slack:#ops")
    assert [run(*send).exit_code, run(*send, "--strict").exit_code] == [0, 5]
    assert len(json.loads(run("spool", "list", "-o", "json").stdout)["items"]) == 2


def test_a_token_comes_from_a_file_too(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    places.go(monkeypatch, THERE)
    monkeypatch.delenv("ALERTCTL_TOKEN")
    file = tmp_path / "token"
    file.write_text(f"{places.token}\n")
    monkeypatch.setenv("ALERTCTL_TOKEN_FILE", str(file))
    assert run("log").exit_code == 0
    monkeypatch.setenv("ALERTCTL_TOKEN_FILE", str(tmp_path / "gone"))
    ran = run("log")
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert "ALERTCTL_TOKEN_FILE" in ran.stderr
    monkeypatch.delenv("ALERTCTL_TOKEN_FILE")
    ran = run("log")
    assert (ran.exit_code, "ALERTCTL_TOKEN" in ran.stderr) == (4, True)


def test_the_status_names_the_server_as_a_process_does(places: Places, monkeypatch: pytest.MonkeyPatch):
    places.go(monkeypatch, THERE)
    ran = process("status", env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    assert places.address in ran.stdout.splitlines()[0]
