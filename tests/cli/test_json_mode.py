"""JSON mode (`-o json`): every command prints only JSON on stdout and on stderr, also when it warns or fails."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import Result

from alertctl.cli.main import app
from alertctl.cli.output.streams import wants_json
from alertctl.sandbox import Sandbox
from tests.support import cli_process
from tests.support.cases import each
from tests.support.cli import COMMAND, messages, process, run
from tests.support.doctor import closed_port

USER, ID = "dev@corp.example", "ffffffff"
ARGUMENTS = {
    "send": "--event generic_alert --set titel=x --title x --to slack:#missing",
    "test": "slack --to #missing",
    "preview": "--event generic_alert --set titel=x",
    "routes": "",
    "routes test": "--event safety_rollback --expect slack:#nowhere",
    "events": "",
    "dispatch": "--once",
    "status": "--fail-if-waiting 1ms",
    "doctor": "",
    "demo": "",
    "sandbox": "--slack-port 1 --chaos slack=fax",
    "log": "--fail-if-any",
    "log show": ID,
    "log retry": ID,
    "log stats": "",
    "log export": "",
    "log prune": "",
    "spool list": "",
    "spool flush": "",
    "spool drop": "",
    "prefs get": f"--user {USER}",
    "prefs set": f"--user {USER} slack_channel=two_words,x",
    "prefs reset": f"--user {USER}",
    "prefs list": "",
    "user add": "ana",
    "user list": "",
    "user set-role": f"{USER} viewer",
    "user set-email": f"{USER} ana",
    "user unlink": USER,
    "user remove": USER,
    "user disable": USER,
    "user enable": USER,
    "token create": f"--user {USER} --scope publish",
    "token list": "",
    "token revoke": ID,
    "config show": "",
    "config check": "",
    "db status": "",
    "db upgrade": "",
    "db backup": "/dev/null/backup.db",
    "db copy": "--to fax://x",
}
"""Each command with an output format, and arguments with which it warns or fails where it can."""


def commands_with_output(command: Any, path: str = "") -> Iterator[str]:
    """Yield each command that has an output format."""
    if any("--output" in option.opts for option in command.params):
        yield path
    for name in getattr(command, "commands", {}):
        yield from commands_with_output(command.commands[name], f"{path} {name}".strip())


COMMANDS = sorted(ARGUMENTS)


def format_of(name: str) -> str:
    return "jsonl" if name == "log export" else "json"


def run_in_json_mode(name: str, *more: str) -> Result:
    return run(*name.split(), *ARGUMENTS[name].split(), *more, "-o", format_of(name))


def check_stdout(stdout: str, output_format: str) -> None:
    """Check that stdout is empty, one JSON value, or with `jsonl` JSON lines."""
    for text in stdout.splitlines() if output_format == "jsonl" else filter(None, [stdout]):
        json.loads(text)


def test_the_list_has_every_command_with_an_output_format() -> None:
    assert set(commands_with_output(typer.main.get_command(app))) == set(ARGUMENTS)


@each("name", COMMANDS)
def test_a_usage_mistake_is_json(name: str) -> None:
    ran = run_in_json_mode(name, "--no-such-option")
    assert (ran.exit_code, ran.stdout) == (2, "")
    ((level, text),) = messages(ran.stderr)
    assert (level, "--no-such-option" in text) == ("error", True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_a_working_database_prints_only_json(name: str, slack_and_email: Sandbox) -> None:
    run("send", "--event", "generic_alert", "--title", "x", "--to", "slack:#missing", "--to", "slack:#ops", "--queue")
    ran = run_in_json_mode(name)
    messages(ran.stderr)
    check_stdout(ran.stdout, format_of(name))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_a_command_without_a_usable_database_prints_only_json(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////dev/null/alertctl.db")
    monkeypatch.setenv("ALERTCTL_SERVR", "x")
    ran = run_in_json_mode(name)
    assert ran.exit_code == 0 or messages(ran.stderr) or ran.stdout
    check_stdout(ran.stdout, format_of(name))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_a_command_whose_server_is_away_prints_only_json(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    monkeypatch.setenv("ALERTCTL_TIMEOUT", "200ms")
    with closed_port() as port:
        monkeypatch.setenv("ALERTCTL_SERVER", f"http://127.0.0.1:{port}")
        ran = run_in_json_mode(name)
    messages(ran.stderr)
    check_stdout(ran.stdout, format_of(name))


def test_each_kind_of_message_has_its_level(slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTCTL_SERVR", "x")
    printed = messages(run_in_json_mode("send").stderr)
    assert [(level, text.split()[0]) for level, text in printed] == [
        ("warning", "ALERTCTL_SERVR:"),
        ("info", "recorded"),
        ("warning", "titel:"),
        ("warning", "slack"),
    ]


def test_wrong_settings_are_one_object_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PORT", "many")
    monkeypatch.setenv("SLACK_ENABLED", "maybe")
    ran = run("log", "-o", "json")
    assert ran.exit_code == 2
    assert sorted(text.partition(":")[0] for _, text in messages(ran.stderr)) == [
        "SLACK_ENABLED",
        "SMTP_PORT",
    ]


def test_the_traceback_of_debug_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:////dev/null/alertctl.db")
    error, traceback = messages(run("--debug", "log", "-o", "json").stderr)
    assert (error[0], traceback[0]) == ("error", "debug")
    assert traceback[1].startswith("Traceback")


@pytest.mark.parametrize("command", [("log", "prune"), ("spool", "drop")])
def test_a_command_never_asks_on_a_terminal(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    if command == ("spool", "drop"):
        monkeypatch.setenv("DATABASE_URL", "sqlite:////dev/null/alertctl.db")
        assert run("send", "--event", "generic_alert", "--title", "x").exit_code == 0
    terminal, stdin = pty.openpty()
    ran = process(*command, "-o", "json", stdin=stdin)
    os.close(stdin)
    os.close(terminal)
    ((_, text),) = messages(ran.stderr)
    assert (ran.returncode, "--yes" in text) == (2, True)


@pytest.mark.parametrize("command", [("doctor",), ("config", "show")])
def test_a_full_disk_is_one_line_also_where_rich_prints(command: tuple[str, ...]) -> None:
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "FORCE_COLOR": "1"}
    with open("/dev/full", "w", encoding="utf-8") as full:
        # A fork of the fork server would have a buffer.
        ran = subprocess.run(
            [*COMMAND, *command], stdout=full, stderr=subprocess.PIPE, env=environ, text=True, timeout=60, check=False
        )
    assert (ran.returncode, ran.stderr) == (1, "alertctl: stdout: No space left on device\n")


def test_a_broken_stdout_is_an_object() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        ran = cli_process.run(
            [*COMMAND, "events", "-o", "json"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    ((level, text),) = messages(ran.stderr)
    assert (ran.returncode, level, "No space left" in text) == (1, "error", True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("log -o json", True),
        ("log -ojsonl", True),
        ("log -fo jsonl", True),
        ("log --output=json", True),
        ("log --output json", True),
        ("log -o csv -o json", True),
        ("log -o json -o table", False),
        ("log -o", False),
        ("log --grep json", False),
        ("log -- -o json", False),
    ],
)
def test_the_mode_is_known_before_the_arguments_are_parsed(line: str, expected: bool) -> None:
    assert wants_json(line.split()) is expected


def test_other_modes_print_text() -> None:
    assert run("log", "--no-such-option").stderr.startswith("alertctl: No such option")
