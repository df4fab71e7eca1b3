"""`alertctl log`: did it arrive, to whom, and if not, why."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shlex
import subprocess
from dataclasses import fields

import pytest

from alertctl.cli.options import STATUSES
from alertctl.cli.output.deliveries import FIELDS
from alertctl.models import Status
from alertctl.sandbox import Sandbox
from alertctl.schemas import DeliveryItem
from tests.support import cli_process
from tests.support.cases import each
from tests.support.cli import COMMAND, DELIVERY_FIELDS, data, dispatched, messages, process, run


@pytest.fixture
def log(log_on, slack_and_email: Sandbox) -> Sandbox:
    """Send one event to four targets: two failed for good, one to be retried, one that arrived."""
    targets = ["slack:#missing", "slack:#flaky", "slack:#ops", "email:missing@corp.example"]
    options = [part for target in targets for part in ("--to", target)]
    assert run("send", "--event", "generic_alert", "--title", "Disk full", *options).exit_code == 0
    return slack_and_email


def test_words_and_columns_are_those_of_the_models():
    assert tuple(Status) == STATUSES
    assert tuple(field.name for field in fields(DeliveryItem)) == FIELDS


def test_items_are_newest_first_with_the_field_names_of_the_api(log):
    assert run("send", "--event", "rollout_advance", "--to", "slack:#later").exit_code == 0
    page = data("log")
    assert [item["to"] for item in page["items"]] == [
        "#later",
        "missing@corp.example",
        "#ops",
        "#flaky",
        "#missing",
    ]
    assert list(page["items"][0])[: len(DELIVERY_FIELDS)] == list(DELIVERY_FIELDS)
    assert page["total"] == 5


@each(
    ("filters", "addresses"),
    [
        (["--status", "failed"], {"#missing", "#flaky", "missing@corp.example"}),
        (["--status", "success"], {"#ops"}),
        (["--channel", "email"], {"missing@corp.example"}),
        (["--to", "#OPS"], {"#ops"}),
        (["--to", "email:Missing@corp.example"], {"missing@corp.example"}),
        (["--event", "safety_rollback"], set()),
        (["--event", "generic_alert", "--channel", "slack", "--status", "failed"], {"#missing", "#flaky"}),
        (["--since", "2h"], {"#missing", "#flaky", "#ops", "missing@corp.example"}),
        (["--until", "2h"], set()),
        (["--since", "2999-01-01"], set()),
        (["--limit", "1"], {"missing@corp.example"}),
    ],
)
def test_filters_narrow_the_log(log, filters, addresses):
    assert {item["to"] for item in data("log", *filters)["items"]} == addresses


def test_the_table_fits_80_columns_and_shows_status_and_error_in_full(log):
    ran = run("log")
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "channel_not_found" in ran.stdout
    assert "generic_al" in ran.stdout
    assert "\x1b" not in ran.stdout
    failed = [line for line in ran.stdout.splitlines() if " failed " in line]
    assert len(failed) == 3


def test_every_output_format_prints_the_same_deliveries(log):
    items = data("log")["items"]
    lines = run("log", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == items
    assert run("log", "-o", "id").stdout.split() == [item["id"] for item in items]
    rows = list(csv.DictReader(io.StringIO(run("log", "-o", "csv").stdout)))
    assert [row["to"] for row in rows] == [item["to"] for item in items]
    assert list(rows[0])[: len(DELIVERY_FIELDS)] == list(DELIVERY_FIELDS)


def test_an_empty_log_prints_no_data():
    ran = run("log")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "no delivery matches\n")
    assert data("log") == {"items": [], "total": 0}


@pytest.mark.postgres
def test_a_limit_above_a_page_reads_as_many_pages_as_it_takes(log_on, slack_and_email: Sandbox):
    targets = [part for number in range(130) for part in ("--to", f"slack:#n{number}")]
    assert run("send", "--event", "generic_alert", "--title", "x", "--queue", *targets).exit_code == 0
    ids = run("log", "-o", "id", "--limit", "1000").stdout.split()
    assert len(set(ids)) == len(ids) == 130
    assert run("log", "-o", "id", "--limit", "125").stdout.split() == ids[:125]
    assert "20 of 130; --limit shows more" in run("log").stderr


@each(
    ("arguments", "message"),
    [
        (["--status", "faild"], "did you mean failed?"),
        (["--event", "safety_rolback"], "did you mean safety_rollback?"),
        (["--channel", "mail"], "did you mean email?"),
        (["--limit", "0"], "'--limit'"),
        (["--limit", "many"], "'--limit'"),
        (["--since", "yesterday-ish"], "--since: 'yesterday-ish' is not a time: 2h"),
        (["--until", "99999999999d"], "--until"),
        (["--since", "2026"], "--since"),
        (["--to", "", "retry"], "--to: should not be empty"),
        (["--to", "slack:"], "--to: should not be empty"),
        (["--event-id", ""], "--event-id: should not be empty"),
        (["--grep", "a\tb"], "--grep: should have no control characters"),
        (["-o", "yaml"], "'--output'"),
        (["--stauts", "failed"], "--status"),
        (["shwo"], "Did you mean 'show'?"),
        (["show"], "Missing argument 'ID'"),
        (["show", "zzz"], "is not an id"),
        (["show", "ffffffff-ffff"], "no delivery has an id"),
    ],
)
def test_a_wrong_option_is_named_on_one_line(arguments, message):
    ran = run("log", *arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    assert message in ran.stderr


def test_show_prints_event_reason_and_attempts_for_a_part_of_the_id(log: Sandbox):
    dispatched()
    (flaky,) = [item for item in data("log")["items"] if item["to"] == "#flaky"]
    ran = run("log", "show", flaky["id"][-8:])
    shown = " ".join(ran.stdout.split())
    for part in (
        "success slack #flaky",
        "the caller named it",
        "Disk full",
        "1. ",
        "failed http_503",
        "2. ",
        "success",
    ):
        assert part in shown
    assert "HTTP 503" in shown
    assert "channel_not_found" in shown.partition("other deliveries")[2]
    assert max(map(len, ran.stdout.splitlines())) <= 80
    detail = data("log", "show", flaky["id"])
    assert [item["outcome"] for item in detail["attempt_log"]] == ["failed", "success"]
    assert (detail["routing_reason"], detail["event"]["title"]) == ("named", "Disk full")


def test_show_explains_a_final_failure_and_its_fix(log):
    (missing,) = data("log", "--to", "#missing")["items"]
    shown = " ".join(run("log", "show", missing["id"]).stdout.split())
    assert "channel_not_found: the channel does not exist" in shown
    assert f"alertctl log retry {missing['id'][-8:]}" in shown


def of_ops(log: Sandbox) -> int:
    """Count the messages to #ops: another target's retry may be due at any time."""
    return [message.channel for message in log.slack.messages].count("#ops")


@pytest.mark.postgres
def test_retry_resends_at_once_and_skips_arrived_deliveries(log: Sandbox):
    items = {item["to"]: item["id"] for item in data("log")["items"]}
    ran = run("log", "retry", items["#missing"], items["#ops"])
    assert ran.exit_code == 0
    assert f"{items['#ops'][-8:]} is not resent" in ran.stderr
    assert of_ops(log) == 1
    assert data("log", "show", items["#missing"])["attempts"] == 2
    shown = data("log", "retry", items["#ops"], "--again")
    assert [(item["to"], item["status"]) for item in shown["items"]] == [("#ops", "success")]
    assert of_ops(log) == 2


def test_retry_with_queue_only_marks_as_due(log: Sandbox):
    (missing,) = data("log", "--to", "#missing")["items"]
    calls = len(log.slack.calls)
    shown = data("log", "retry", missing["id"], "--queue")
    assert shown["items"][0]["status"] == "pending"
    assert len(log.slack.calls) == calls


def test_a_title_cannot_control_the_terminal(slack_and_email: Sandbox):
    hostile = "a\x1b]0;owned\x07\x1b[2Jb\u202ec"
    (item,) = data("send", "--event", "generic_alert", "--title", hostile, "--to", "slack:#ops")["deliveries"]
    shown = run("log", "show", item["id"]).stdout
    assert not set("\x1b\x07\u202e") & set(shown)


def test_a_closed_pipe_ends_quietly(slack_and_email: Sandbox):
    targets = [part for number in range(300) for part in ("--to", f"slack:#n{number}")]
    assert run("send", "--event", "generic_alert", "--title", "x", "--queue", *targets).exit_code == 0
    for more, first in ((" -o json", "{\n"), ("", "ID ")):
        # A new interpreter: its exit matters.
        command = f"{shlex.join(COMMAND)} log --limit 300{more} | head -1"
        ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout[:3], ran.stderr) == (0, first[:3], "")


@pytest.mark.parametrize("arguments", [["--version"], ["events"], ["log", "-o", "json"], ["send", "--event", "x"]])
def test_a_full_disk_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        ran = cli_process.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == (2 if arguments[0] == "send" else 1)
    if "json" in arguments:
        assert messages(ran.stderr) == [("error", "stdout: No space left on device")]
    else:
        assert ran.stderr.startswith("alertctl: ")
    assert ran.stderr.count("\n") == 1


def test_a_full_disk_is_one_line_for_an_unbuffered_stdout():
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [*COMMAND, "log", "-o", "json"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ran.returncode == 1
    assert messages(ran.stderr) == [("error", "stdout: No space left on device")]


def test_a_closed_stdout_is_no_trouble():
    ran = process("log", "-o", "json", preexec_fn=lambda: os.close(1))
    assert (ran.returncode, ran.stderr) == (0, "")


def on_a_terminal(**environ: str) -> str:
    ours, theirs = pty.openpty()
    variables = os.environ | {"TERM": "xterm-256color"} | environ
    cli_process.run([*COMMAND, "log"], stdout=theirs, stderr=subprocess.DEVNULL, env=variables, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    return shown


def test_colour_is_for_terminals_and_for_those_who_want_it(slack_and_email: Sandbox):
    run("send", "--event", "generic_alert", "--title", "x", "--to", "slack:#missing")
    colours = re.compile(r"\x1b\[(\d;)?3\dm")
    assert colours.search(on_a_terminal())
    assert not colours.search(on_a_terminal(NO_COLOR="1"))
    assert "failed" in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in process("log").stdout


@pytest.mark.parametrize("output", ["table", "wide", "csv", "id", "jsonl"])
def test_force_color_colours_tables_in_a_pipe_and_changes_nothing_else(slack_and_email: Sandbox, output: str):
    run("send", "--event", "generic_alert", "--title", "x", "--to", "slack:#missing")
    forced = process("log", "-o", output, env=os.environ | {"FORCE_COLOR": "1", "TERM": "xterm"}).stdout
    assert ("\x1b[31mfailed" in forced) == (output in ("table", "wide"))
    assert re.sub(r"\x1b\[[0-9;]*m", "", forced) == process("log", "-o", output).stdout
    without = os.environ | {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    assert "\x1b[31m" not in process("log", "-o", output, env=without).stdout
