"""Shell completion, and `alertctl help`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from alertctl.client.completion import NEWEST, TIMEOUT, recent
from alertctl.db import Store
from tests.support.cli import data, process, run
from tests.support.waiting import wait_until

SLOW = 10.0
"""Seconds for a process on a busy machine; the code under test waits for TIMEOUT."""


def completed(words: str, **environ: str) -> list[str]:
    """Return bash's completions of the last word; completing must succeed without output on stderr."""
    asked = {"_ALERTCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ran = process(env=os.environ | asked | environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


def offered(words: str) -> list[str]:
    """Return the completions of a word that has some. A busy machine may need several tries: each has 0.4 s."""
    return wait_until(lambda: completed(words))


def sent(*targets: str) -> list[str]:
    """Send to these targets and return the short ids of the deliveries."""
    to = [word for target in targets for word in ("--to", target)]
    return [item["id"][-8:] for item in data("send", "--event", "generic_alert", "--title", "Disk", *to)["deliveries"]]


@pytest.mark.parametrize("command", ["show", "retry"])
def test_the_newest_deliveries_are_offered_where_an_id_belongs(log_on, command):
    sent("slack:#a", "slack:#b")
    expected = [item["id"][-8:] for item in data("log")["items"]]
    assert offered(f"alertctl log {command} ") == expected
    assert offered(f"alertctl log {command} {expected[1][:5]}") == [expected[1]]
    assert completed(f"alertctl log {command} nosuchid") == []


def test_a_partly_typed_full_id_is_completed_to_the_full_id(log_on):
    sent("slack:#a")
    (full_id,) = [item["id"] for item in data("log")["items"]]
    assert offered(f"alertctl log show {full_id[:20]}") == [full_id]


def test_an_id_that_is_already_on_the_command_line_is_not_offered_again(log_on):
    first, second = sent("slack:#a", "slack:#b")
    assert offered(f"alertctl log retry {first} ") == [second]


def test_zsh_gets_a_description_of_each_delivery(log_on):
    (only,) = sent("slack:#a")
    asked = {"_ALERTCTL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "alertctl log show "}

    def complete() -> str:
        ran = process(env=os.environ | asked)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout if only in ran.stdout else ""

    output = wait_until(complete)
    assert f'"{only}":"' in output
    assert "#a generic_alert" in output


def test_the_database_named_before_the_command_is_the_one_that_is_asked(tmp_path):
    here = sent("slack:#a")
    data("--database", f"sqlite:///{tmp_path / 'other.db'}", "db", "upgrade")
    assert completed(f"alertctl --database sqlite:///{tmp_path / 'other.db'} log show ") == []
    assert offered("alertctl log show ") == here


def test_no_more_than_the_newest_are_offered(log_on):
    for number in range(2):
        sent(*(f"slack:#channel-{number}-{other}" for other in range(30)))
    assert len(wait_until(lambda: recent({}))) == NEWEST


@pytest.mark.usefixtures("no_database")
def test_completion_makes_no_database_and_no_folder(tmp_path):
    assert completed("alertctl log show ", DATABASE_URL=f"sqlite:///{tmp_path / 'no' / 'such.db'}") == []
    assert completed("alertctl log show ", DATABASE_URL=f"sqlite:///{tmp_path / 'none.db'}") == []
    assert list(tmp_path.iterdir()) == []


def test_completion_only_reads(log_on, tmp_path):
    sent("slack:#a")
    store = Store(log_on)
    store.write(lambda connection: connection.execute(text("UPDATE alertctl_version SET version_num = '0001'")))
    store.close()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(offered("alertctl log show ")) == 1
    assert data("db", "status")["version"] == "0001"
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("url", ["mysql://h/d", "postgresql://127.0.0.1:1/alerts", "sqlite:///notes.txt", "nonsense"])
def test_an_unusable_database_offers_nothing_and_prints_nothing(tmp_path, url):
    (tmp_path / "notes.txt").write_text("Dear diary, " * 1000)
    assert completed("alertctl log show ", DATABASE_URL=url) == []


def test_unreadable_settings_offer_nothing_and_print_nothing(tmp_path):
    (tmp_path / "alertctl.toml").write_text("[slack\n")
    assert completed("alertctl log show ") == []


def test_an_empty_database_offers_nothing(empty_postgres_url):
    assert completed("alertctl log show ", DATABASE_URL=empty_postgres_url) == []


@pytest.mark.parametrize("setting", ["DATABASE_URL", "ALERTCTL_SERVER"])
def test_completion_does_not_wait_for_a_server_that_never_answers(setting, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://127.0.0.1:{port}/alerts" if setting == "DATABASE_URL" else f"http://127.0.0.1:{port}"
        begun = time.monotonic()
        assert completed("alertctl log show ", **{setting: url, "ALERTCTL_TOKEN": f"actl_{'x' * 43}"}) == []
        assert time.monotonic() - begun < SLOW
    assert TIMEOUT < 0.5


# --- a real bash ---


@pytest.fixture
def shell(tmp_path: Path):
    """Return a function that runs lines in a bash that finds `alertctl`, with a home of its own."""
    # A real child of bash: the shell is detected by the parent process.
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "alertctl"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m alertctl "$@"\n')
    script.chmod(0o755)
    environ = os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def bash(lines: str) -> str:
        command = ["bash", "--norc", "-c", f"{lines}\ntrue"]
        ran = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=True)
        assert ran.stderr == ""
        return ran.stdout

    return bash


@pytest.mark.parametrize("times", [1, 2])
def test_installed_completion_works_in_a_real_bash(shell, tmp_path, times):
    for _ in range(times):
        assert "bash completion installed" in shell("alertctl --install-completion")
    assert (tmp_path / ".bashrc").read_text().count("alertctl.sh") == 1
    asked = "COMP_WORDS=(alertctl log --status f); COMP_CWORD=3; _alertctl_completion alertctl; echo ${COMPREPLY[@]}"
    assert shell(f"source ~/.bashrc; {asked}") == "failed\n"


def test_shown_completion_is_what_would_be_installed(shell, tmp_path):
    shown = shell("alertctl --show-completion")
    shell("alertctl --install-completion")
    assert shown.strip() == (tmp_path / ".bash_completions" / "alertctl.sh").read_text().strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("alertctl db ", ["status", "upgrade", "backup", "copy"]),
        ("alertctl help ex", ["exit-codes"]),
        ("alertctl help log ret", ["retry"]),
        ("alertctl help s", ["send", "serve", "sandbox"]),
    ],
)
def test_commands_and_topics_are_completed(words, expected):
    assert set(expected) <= set(completed(words))


# --- help ---


def test_help_without_a_command_prints_the_root_help_on_stdout():
    ran = run("help")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == run("--help").stdout


@pytest.mark.parametrize("words", [("send",), ("log",), ("log", "retry"), ("db", "copy"), ("help",)])
def test_help_on_a_command_is_that_commands_help(words):
    assert run("help", *words).stdout == run(*words, "--help").stdout


def test_every_exit_code_is_explained_by_help_and_by_the_end_of_every_help():
    explained = re.findall(r"(?m)^(\d+) +\w", run("help", "exit-codes").stdout)
    ends = " ".join(run("--help").stdout.partition("Exit codes: ")[2].split())
    assert explained == re.findall(r"(?:^|; )(\d+) ", ends)
    assert {"0", "1", "2", "5", "130"} <= set(explained)


@pytest.mark.parametrize("topic", ["exit-codes", "statuses", "times"])
def test_every_topic_is_named_by_the_commands_own_help(topic):
    shown = run("help", topic)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert topic in run("help", "--help").stdout


@pytest.mark.parametrize(
    ("words", "message"), [(("snd",), "did you mean send?"), (("log", "rety"), "did you mean retry?")]
)
def test_help_on_an_unknown_command_ends_with_2(words, message):
    ran = run("help", *words)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert message in ran.stderr
