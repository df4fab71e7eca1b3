"""Every command: help, start-up, errors, completion."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer

from alertctl import __version__
from alertctl.cli.main import app
from alertctl.cli.registry import with_wait_value
from tests.support.cases import each
from tests.support.cli import COMMAND, loaded_modules, process, run

HEAVY = (
    "sqlmodel",
    "sqlalchemy",
    "fastapi",
    "slack_sdk",
    "sendgrid",
    "pydantic",
    "alembic",
    "rich",
    "pycurl",
    "jinja2",
)


def commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *path, name)


ALL = dict(commands(typer.main.get_command(app)))


@cache
def help_of(path: tuple[str, ...]) -> str:
    return run(*path, "--help").stdout


@each("path", ALL)
def test_every_help_begins_with_examples_and_fits_80_columns(path):
    shown = help_of(path).splitlines()
    assert shown[2].strip().startswith("alertctl")
    assert len([line for line in shown[2:5] if "alertctl" in line]) >= 2
    assert max(map(len, shown)) <= 80


@each("path", ALL)
def test_no_help_shows_a_python_type(path):
    assert not re.search(r"<(str|int|path|list)", help_of(path))


@each("path", ALL)
def test_a_help_marks_an_argument_that_may_be_repeated(path):
    for argument in ALL[path].params:
        if argument.param_type_name == "argument":
            repeated = argument.nargs == -1
            assert (argument.metavar.endswith("...") and argument.metavar in help_of(path)) is repeated


@each("path", ALL)
def test_every_command_that_prints_data_prints_json(path):
    quiet = {(), ("serve",), ("prefs",), ("user",), ("token",), ("db",), ("help",), ("spool",), ("config",)}
    assert ("--output" in help_of(path)) == (path not in quiet)


def examples() -> Iterator[str]:
    for command in ALL.values():
        lines = (command.help or "").partition("\b\n")[2].partition("\n\n")[0]
        for line in re.sub(r"\|\n *", "| ", lines).splitlines():
            # What is behind two blanks explains it.
            example = line.strip().partition("  ")[0].partition(" > ")[0]
            yield example.rpartition("| ")[2].strip()


@each("example", examples)
def test_the_options_of_every_example_exist(example):
    words = shlex.split(example.removeprefix("* * * * * ").removeprefix("export ALERTCTL_TOKEN=$(").removesuffix(")"))
    assert words.pop(0) in ("alertctl", "xargs")
    if words[:1] == ["alertctl"]:
        words = [*words[1:], "ID"]
    # --help behind the rest ends the command, but a wrong option before it is an error all the same.
    ran = run(*words, "--help")
    assert ran.exit_code == 0, ran.stderr
    known = ran.stdout
    assert all(word.partition("=")[0] in known for word in words if word.startswith("--"))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option):
    assert loaded_modules(option) & set(HEAVY) == set()
    ran = process(option)
    assert ran.stdout.startswith("Usage: alertctl" if option == "--help" else f"alertctl {__version__}\n")


@each(
    ("arguments", "message"),
    [
        (["sned"], "Did you mean 'send'?"),
        (["send", "--evnt", "x"], "--event"),
        (["dispatch"], "--once"),
        (["events", "safety_rolback"], "did you mean safety_rollback?"),
        (["serve", "--port", "70000"], "'--port'"),
        (["sandbox", "--chaos", "slack=nothing"], "--chaos"),
        (["test"], "Missing argument"),
        (["test", "pager"], "'pager' is not a channel"),
        (["test", "slack", "--to", ""], "'--to': should not be empty"),
        (["test", "slack", "--to", "two words"], "to: 'two words' is not a Slack channel"),
        (["log", "prune", "--older-than", "soon"], '--older-than: "soon" is not a duration (90s'),
        (["token", "create", "--user", "a@b.example", "--role", "viewer", "--expires", "0s"], '"0s" is out of range'),
        (["--config", "gone.toml", "log"], "ALERTCTL_CONFIG: "),
        (["--database", "mysql://h/d", "log"], "DATABASE_URL: "),
    ],
)
def test_a_mistake_is_one_line_and_2(arguments, message):
    ran = run(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("alertctl: ")
    assert ran.stderr.count("\n") == 1
    assert message in ran.stderr


def test_each_wrong_setting_is_a_line_of_its_own(monkeypatch):
    monkeypatch.setenv("SLACK_ENABLED", "maybe")
    monkeypatch.setenv("SMTP_PORT", "70000")
    ran = run("log")
    assert ran.exit_code == 2
    assert [line.split(": ")[1] for line in ran.stderr.splitlines()] == ["SLACK_ENABLED", "SMTP_PORT"]


def test_ctrl_c_while_modules_load_is_quiet_and_130():
    script = (
        "import sys; from alertctl.cli import run\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted()); run()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_alertctl_alone_prints_its_help():
    ran = run()
    assert ran.exit_code == 2
    assert ran.stderr.startswith("Usage: alertctl")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["log", "--database", "mysql://x"], 2, "DATABASE_URL"),
        (["log", "retry", "--status", "failed", "--database", "mysql://x"], 2, "DATABASE_URL"),
        (["log", "--database", "mysql://x", "retry", "--status", "failed"], 2, "DATABASE_URL"),
        (["status", "--server", "http://127.0.0.1:1"], 4, "ALERTCTL_TOKEN is not set, and http://127.0.0.1:1"),
        (["status", "--timeout", "soon", "--server", "http://127.0.0.1:1"], 2, "ALERTCTL_TIMEOUT"),
        (["log", "--config", "missing.toml"], 2, "missing.toml"),
        (["db", "upgrade", "--server", "http://127.0.0.1:1"], 2, "db runs on this machine only: remove --server"),
        (["log", "--database", "sqlite:///x.db", "--server", "http://x"], 2, "use --database or --server, not both"),
    ],
)
def test_the_root_options_are_accepted_after_the_command(arguments, code, message):
    ran = run(*arguments)
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert message in ran.stderr


@each("option", ["--server", "--database", "--config", "--timeout", "--debug"])
@each("path", ALL)
def test_every_command_accepts_every_root_option(path, option):
    (accepted,) = (parameter for parameter in ALL[path].params if option in parameter.opts)
    assert accepted.hidden == bool(path)


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import sys; sys.modules['alertctl.client'] = None\n")
    environ = os.environ | {"PYTHONPATH": f"{broken}:{os.getcwd()}:{':'.join(sys.path)}"}

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], env=environ, capture_output=True, text=True, check=False)

    plainly = start("log")
    assert (plainly.returncode, plainly.stdout) == (1, "")
    assert plainly.stderr.startswith("alertctl: unexpected: ModuleNotFoundError: ")
    assert plainly.stderr.count("\n") == 1
    assert "Traceback" in start("--debug", "log").stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("alertctl lo", ["log"]),
        ("alertctl send --event sa", ["safety_rollback"]),
        (
            "alertctl send --event safety_rollback --set compar",
            [f"comparison={word}_than" for word in ("greater", "less")],
        ),
        ("alertctl send --event rollout_advance --set sta", ["stage=", "stages="]),
        ("alertctl log --status f", ["failed"]),
        ("alertctl log --channel e", ["email"]),
        ("alertctl send --to s", ["slack:"]),
        ("alertctl test ", ["slack", "email"]),
        ("alertctl events gen", ["generic_alert"]),
        ("alertctl user add x --role dev", ["developer"]),
        ("alertctl prefs set notify_on_ro", ["notify_on_rollout_advance=on", "notify_on_rollout_advance=off"]),
    ],
)
def test_the_shell_completes_events_fields_and_statuses(words, expected):
    environ = {"_ALERTCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ran = process(env=os.environ | environ)
    assert ran.stdout.split()[: len(expected)] == expected


def test_events_shows_the_types_and_one_types_fields():
    table = run("events").stdout
    assert max(map(len, table.splitlines())) <= 80
    assert table.splitlines()[1].startswith("safety_rollback ")
    fields = run("events", "experiment_lifecycle").stdout
    assert "required: new state of the experiment (started, paused, resumed, stopped, completed)" in " ".join(
        fields.split()
    )
    example = fields.splitlines()[-1].strip()
    assert run(*shlex.split(example)[1:], "--dry-run").exit_code == 0


@pytest.mark.parametrize("kind", ["safety_rollback", "experiment_lifecycle", "rollout_advance", "generic_alert"])
def test_the_example_of_every_event_type_works(kind):
    example = run("events", kind).stdout.splitlines()[-1].strip()
    ran = run(*shlex.split(example)[1:], "--dry-run")
    assert ran.exit_code == 0, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "expanded"),
    [
        ("send --wait", "send --wait=20s"),
        ("--config x.toml send --wait --strict", "--config x.toml send --wait=20s --strict"),
        ("send --wait 30s", "send --wait 30s"),
        ("send --wait=30s", "send --wait=30s"),
        ("log --grep --wait", "log --grep --wait"),
    ],
)
def test_only_send_gets_a_value_for_a_bare_wait(arguments, expanded):
    assert with_wait_value(arguments.split()) == expanded.split()
