"""What README says is so: its commands are run, its answers compared, its tables held against the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from alertctl import errors
from alertctl.channels.email.smtp_errors import SmtpStep, smtp_reason
from alertctl.channels.http_errors import NAMES, status_reason
from alertctl.channels.slack.errors import slack_reason
from alertctl.cli.main import EXIT_CODES
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import Reason
from alertctl.models import Status
from alertctl.sandbox import Sandbox
from tests.ops.checkout import ROOT, SETTINGS, settings_named_in, text
from tests.ops.conftest import PATIENCE, environment
from tests.ops.examples import LEFT_OUT, examples, request_of, same, shape
from tests.ops.reference import brought_up_to_date

README = text("README.md")
PATHS = {"ID": "{id}", "EVENT": "{event_id}", "TOKEN": "{id}"}
"""What the examples' variables stand for in the API's paths."""


def test_the_first_screen_has_two_commands_and_no_more():
    first_screen = README.partition("\n## ")[0]
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", first_screen)
    assert [block.count("\n") for block in blocks] == [1, 1]
    assert blocks[0].rstrip().endswith("alertctl demo")
    assert blocks[1].rstrip().endswith("-m pytest")


def test_the_reference_tables_are_what_the_registries_say():
    # If this fails: python -m tests.ops.reference
    assert brought_up_to_date(README) == README


def test_every_setting_that_readme_names_exists():
    assert settings_named_in("README.md") <= SETTINGS


def test_every_link_leads_somewhere():
    headings = re.findall(r"(?m)^#+ (.*)$", README)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target[1:] in anchors if target.startswith("#") else (ROOT / target).exists(), target


def test_the_api_answers_what_readme_prints(variables):
    wrong, known = [], {"ID": "", "EVENT": "", "TOKEN": ""}
    for example in examples("HTTP API"):
        answer = _answer(example, {**variables, **known})
        if not answer.startswith(("{", "[")):
            continue
        real = json.loads(answer)
        known |= _learned(real)
        if not same(json.loads(example.printed), real):
            wrong.append(f"{example.command}\n{answer}")
    assert not wrong, "\n\n".join(wrong)


def _learned(answer: Any) -> dict[str, str]:
    """What the examples that follow call $ID (a delivery of the log), $EVENT (what was published) and $TOKEN."""
    if not isinstance(answer, dict):
        return {}
    learned = {"EVENT": answer["event_id"]} if "warnings" in answer else {}
    if "token" in answer:
        learned["TOKEN"] = answer["item"]["id"]
    if answer.get("items") and "attempts" in answer["items"][0]:
        learned["ID"] = answer["items"][0]["id"]
    return learned


def _answer(example, variables) -> str:
    """What the daemon answers now; text is asked for again until it has README's lines, for what takes a moment."""
    root = variables["API"].partition("/api/")[0]
    request = request_of(example.command.replace("http://127.0.0.1:8000", root), variables)
    until = time.monotonic() + PATIENCE
    while True:
        _, answer = request.send()
        lacking = _numberless(example.printed) - _numberless(answer)
        if answer.startswith(("{", "[")) or not lacking:
            return answer
        assert time.monotonic() < until, f"{example.command} lacks {lacking}"
        time.sleep(0.1)


def _numberless(lines: str) -> set[str]:
    return {re.sub(r" [0-9.e+-]+$", "", line) for line in lines.splitlines()} - {LEFT_OUT}


def test_every_endpoint_has_a_curl_line(variables):
    root = variables["API"].partition("/api/")[0]
    _, description = request_of(f"curl -s {root}/openapi.json", {}).send()
    shown = set()
    for example in examples("HTTP API"):
        request = request_of(example.command, {"API": "/api/v1/notifications", "AUTH": "A: b", **PATHS})
        path = re.sub(
            r"[a-z]+@corp\.example", "{user}", request.url.removeprefix("http://127.0.0.1:8000").partition("?")[0]
        )
        shown.add((request.method.lower(), path))
    paths = json.loads(description)["paths"]
    assert shown == {(method, path) for path, methods in paths.items() for method in methods}


def test_the_quick_tour_prints_what_readme_shows(tmp_path):
    tour = [one for one in examples("Quick tour") if one.command not in ("alertctl sandbox", "alertctl serve")]
    assert len(tour) > 4
    with Sandbox() as sandbox:
        environ = {**environment(sandbox, tmp_path), "PYTHONUNBUFFERED": "1"}
        for example in tour:
            run = subprocess.run(
                ["sh", "-c", example.command],
                env=environ,
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            printed = "\n".join(line.rstrip() for line in run.stdout.splitlines())
            assert shape(printed) == shape(example.printed)
            assert run.returncode == 0


def test_what_is_typed_from_anywhere_runs_against_a_server(variables, tmp_path):
    section = README.split("\n## From anywhere\n")[1].partition("\n## ")[0]
    shell, python = re.findall(r"(?ms)^```(?:sh|python)\n(.*?)^```", section)
    with Sandbox() as sandbox:
        environ = environment(sandbox, tmp_path) | {
            "ALERTCTL_SERVER": variables["API"].partition("/api/")[0],
            "ALERTCTL_TOKEN": variables["AUTH"].rpartition(" ")[2],
        }
    exported, *commands = shell.splitlines()
    assert set(re.findall(r"(\w+)=", exported)) == {"ALERTCTL_SERVER", "ALERTCTL_TOKEN"}
    for command in commands:
        ran = subprocess.run(["sh", "-c", command], env=environ, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "receipt.json").read_text())["outcome"] == "recorded"
    called = [sys.executable, "-c", f"{python}\nprint(result.event_id)"]
    ran = subprocess.run(called, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, len(ran.stdout.strip())) == (0, 36), ran.stderr


def test_the_sandbox_of_the_tour_sets_what_the_sandbox_sets():
    (example,) = [one for one in examples("Quick tour") if one.command == "alertctl sandbox"]
    assert re.findall(r"(?m)^export (\w+)=", example.printed) == list(_sandbox_settings())


def _sandbox_settings() -> dict[str, str]:
    with Sandbox() as sandbox:
        return sandbox.settings()


def _rows(section: str) -> list[list[str]]:
    """The cells of a section's tables."""
    part = re.split(r"(?m)^## ", README.split(f"\n## {section}\n")[1])[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


TROUBLES = [
    (row[0], code, _words(row[2])[0])
    for row in _rows("When something goes wrong")
    if len(row) == 5
    for code in _words(row[1])
]


@pytest.mark.parametrize(("provider", "code", "reason"), TROUBLES)
def test_every_error_code_has_the_reason_that_readme_gives(provider, code, reason):
    if provider == "Slack":
        assert slack_reason(code) == reason
    elif provider == "SendGrid":
        assert status_reason({name: status for status, name in NAMES.items()}[code]) == reason
    elif provider == "SMTP":
        step = {"535": SmtpStep.AUTH, "550": SmtpStep.RCPT, "451": SmtpStep.END}[code]
        assert smtp_reason(step, int(code)) == reason
    else:
        assert ERROR_CODES[code].reason in (None, reason)


def test_every_reason_and_every_state_is_explained():
    explained = {word for row in _rows("When something goes wrong") if len(row) == 3 for word in _words(row[0])}
    assert explained == {str(reason) for reason in Reason}
    states = {word for row in _rows("Delivery states") for word in _words(row[0])}
    assert states == {str(status) for status in Status}


def test_every_exit_code_is_explained():
    explained = {int(row[0]) for row in _rows("Exit codes") if row[0].isdecimal()}
    told = {int(code) for code in re.findall(r"(?:: |; )(\d+) ", EXIT_CODES)}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert raised <= told == explained
