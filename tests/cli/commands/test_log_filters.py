"""`alertctl log` at night: every filter, every output, and narrow terminals."""

from __future__ import annotations

import csv
import json

import pytest
from rich.cells import cell_len

from alertctl.cli.output.deliveries import WIDE
from alertctl.sandbox import Sandbox
from tests.support.cases import each
from tests.support.cli import data, messages, run
from tests.support.terminal import on_terminal

ANN = "ann@corp.example"
LONG_CHANNEL = "#警报频道-非常长的名字-テスト"
HOSTILE = "磁盘快满了 🔥\x1b]0;owned\x07\x1b[2J\u202e 非常长的标题非常长的标题非常长的标题非常长的标题非常长的标题"


@pytest.fixture
def night(slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Send several events of different types."""
    monkeypatch.setenv("RETRY_SCHEDULE", "4m 10m")
    monkeypatch.setenv("NOTIFICATION_ADMIN_EMAILS", "")
    assert run("user", "add", ANN).exit_code == 0
    send("safety_rollback", "feature_flag=checkout-v3", "slack:#ops", "slack:#missing", "slack:#flaky")
    send("experiment_lifecycle", "experiment=new-price", "email:missing@corp.example", also=("--set", "action=started"))
    send("generic_alert", f"title={HOSTILE}", f"slack:{LONG_CHANNEL}")
    send("safety_rollback", "feature_flag=dark-mode", also=("--label", "team=growth", "--label", "note=a, b=c"))
    return slack_and_email


def send(event: str, field: str, *to: str, also: tuple[str, ...] = ()) -> None:
    targets = [part for target in to for part in ("--to", target)]
    ran = run("send", "--event", event, "--set", field, *also, *targets)
    assert ran.exit_code == 0, ran.stderr


def addresses(*arguments: str) -> list[str]:
    return [item["to"] for item in data("log", *arguments)["items"]]


def id_of(to: str) -> str:
    (item,) = data("log", "--to", to)["items"]
    return str(item["id"])


def test_every_filter_finds_what_it_names(night: Sandbox) -> None:
    everything = addresses()
    assert everything == [ANN, "#platform-alerts", LONG_CHANNEL, "missing@corp.example", "#flaky", "#missing", "#ops"]
    event = data("log", "show", id_of("#missing"))["event_id"]
    for asked, expected in {
        ("--error", "channel_not_found"): ["#missing"],
        ("--error", "550"): ["missing@corp.example"],
        ("--event-id", event): ["#flaky", "#missing", "#ops"],
        ("--user", ANN): [ANN],
        ("--flag", "checkout-v3"): ["#flaky", "#missing", "#ops"],
        ("--flag", "checkout"): [],
        ("--experiment", "new-price"): ["missing@corp.example"],
        ("--label", "team=growth"): [ANN, "#platform-alerts"],
        ("--label", "team=growth", "--label", "note=a, b=c", "--channel", "slack"): ["#platform-alerts"],
        ("--label", "team=growth", "--label", "note=a"): [],
        ("--label", "team=payments"): [],
        ("--grep", "磁盘"): [LONG_CHANNEL],
        ("--grep", "DARK-mode", "--channel", "slack"): ["#platform-alerts"],
        ("--grep", "no such user here"): ["missing@corp.example"],
        ("--grep", "%"): [],
        ("--retrying",): ["#flaky"],
        ("--final", "--status", "failed"): ["missing@corp.example", "#missing"],
        ("--final", "--retrying"): [],
    }.items():
        assert addresses(*asked) == expected, asked
        assert data("log", *asked)["total"] in (len(expected), None), asked


@each("asked", [("--user", "nobody@corp.example"), ("--event-id", "x" * 300)])
def test_a_filter_that_fits_nothing_is_no_traceback(night: Sandbox, asked: tuple[str, ...]) -> None:
    ran = run("log", *asked)
    assert (ran.exit_code in (0, 2), ran.stdout, ran.stderr.count("\n")) == (True, "", 1)


def test_fail_if_any_ends_with_10_when_a_delivery_matches_and_with_0_when_not(night: Sandbox) -> None:
    asked = ("--final", "--status", "failed", "--flag", "checkout-v3", "--fail-if-any")
    for output in ("table", "wide", "json", "jsonl", "csv", "id"):
        ran = run("log", *asked, "-o", output)
        note = "found 1, expected none (--fail-if-any)"
        assert ran.exit_code == 10
        if output.startswith("json"):
            assert messages(ran.stderr) == [("info", note)]
        else:
            assert ran.stderr == f"{note}\n"
    assert run("log", "--limit", "1", "--status", "failed", "--fail-if-any").stderr.startswith("1 of 3;")
    for output in ("table", "json", "csv"):
        assert run("log", "--flag", "other", "--fail-if-any", "-o", output).exit_code == 0


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["team"], "'team' is not NAME=VALUE"),
        (["my team=x"], "'my team' is not a label name: use 1 to 63 characters: letters, digits and _ . - /"),
        (["team="], "team: should not be empty; leave it out to have all deliveries"),
        (["team=a", "team=b"], "team: occurs twice with different values, and an event has one value of each label"),
    ],
)
@each("command", [("log",), ("log", "stats"), ("log", "retry"), ("log", "export")])
def test_a_label_filter_with_a_mistake_is_refused(command: tuple[str, ...], labels: list[str], problem: str) -> None:
    ran = run(*command, *(part for label in labels for part in ("--label", label)))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == f"alertctl: Invalid value for --label: {problem} (see: alertctl {' '.join(command)} --help)\n"


def test_label_filters_before_a_command_of_the_log_apply_to_it(night: Sandbox) -> None:
    assert data("log", "--label", "team=growth", "stats", "--by", "to")["total"]["total"] == 2
    shown = data("log", "--label", "team=growth", "--label", "note=a, b=c", "retry", "--again", "--dry-run")
    assert [item["to"] for item in shown["items"]] == [ANN, "#platform-alerts"]


def test_labels_are_in_every_output(night: Sandbox) -> None:
    labels = {"team": "growth", "note": "a, b=c"}
    asked = ("log", "--label", "team=growth", "--channel", "slack")
    assert data(*asked)["items"][0]["labels"] == labels
    assert json.loads(run(*asked, "-o", "jsonl").stdout)["labels"] == labels
    (row,) = csv.DictReader(run("log", *asked[1:], "export", "-o", "csv").stdout.splitlines())
    assert json.loads(row["labels"]) == labels
    assert next(csv.DictReader(run("log", "--to", "#ops", "-o", "csv").stdout.splitlines()))["labels"] == ""
    assert "team=growth, note=a, b=c" in run(*asked, "-o", "wide").stdout
    (delivery_id,) = run(*asked, "-o", "id").stdout.split()
    assert "  labels team=growth, note=a, b=c\n" in run("log", "show", delivery_id).stdout


def test_wide_shows_all_there_is_uncut_however_narrow_the_terminal(night: Sandbox) -> None:
    shown = on_terminal(60, "log", "-o", "wide", "--status", "failed")
    (item,) = data("log", "--to", "#missing")["items"]
    heading = shown.lines[0]
    assert [column.name for column in WIDE if column.name not in heading] == ["LATENCY", "PROVIDER ID", "LABELS"]
    for word in (item["id"], item["event_id"], "channel_not_found", "bad_address", "missing@corp.example"):
        assert word in shown.text
    assert on_terminal(60, "log", "-o", "wide").text.count(" ms ") == 4


TABLES = [
    ("log",),
    ("log", "--status", "failed"),
    ("log", "retry", "--status", "failed", "--dry-run"),
    ("log", "show", LONG_CHANNEL),
    *(("log", "stats", "--by", by) for by in ("event", "channel", "to", "error")),
]


@each("width", [80, 60, 40])
def test_output_fits_the_terminal_and_has_no_control_characters(
    night: Sandbox, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in TABLES:
        ran = run(*(id_of(word) if word == LONG_CHANNEL else word for word in command))
        assert ran.exit_code == 0
        if width > 40 or "stats" not in command:
            assert max(map(cell_len, ran.stdout.splitlines())) <= width, ran.stdout
        assert not set("\x1b\x07\u202e") & set(ran.stdout)


def test_a_real_terminal_shows_what_counts(night: Sandbox) -> None:
    for width, command in ((60, ("log",)), (60, ("log", "show", id_of(LONG_CHANNEL))), (80, ("log", "stats"))):
        shown = on_terminal(width, *command)
        assert (shown.code, shown.width <= width) == (0, True), shown.text
        if command == ("log",):
            assert [word for word in ("ID", "STATUS", "ERROR", "TO") if word not in shown.lines[0]] == []
            assert ("channel_not_found" in shown.text, "#警报频道-" in shown.text) == (True, True)
        elif "show" in command:
            folded = "".join(shown.text.split())
            assert folded.count("非常长的标题" * 5) == 1, "the title, not cut"
        else:
            assert ("░" in shown.text, "█" in shown.text) == (True, True)


def test_numbers_add_up(night: Sandbox) -> None:
    for by, number in (("event", 7), ("channel", 7), ("to", 7), ("error", 3)):
        counted = data("log", "stats", "--by", by)
        assert counted["total"]["total"] == sum(item["total"] for item in counted["items"]) == number
        assert (counted["total"]["retrying"], counted["total"]["failed"]) == (1, 2)


def test_equal_errors_are_counted_together(night: Sandbox) -> None:
    for _ in range(4):
        send("generic_alert", "title=x", "slack:#ops", also=("--dedup-key", "k", "--dedup-window", "1h"))
    errors = {item["key"]: item["suppressed"] for item in data("log", "stats", "--by", "error")["items"]}
    assert errors == {"duplicate of an earlier event": 3, "channel_not_found": 0, "550": 0, "http_503": 0}


def test_times_are_local_unless_utc_is_asked_for(night: Sandbox) -> None:
    local = on_terminal(80, "log", "show", id_of("#missing"), TZ="XYZ-5")
    assert (" XYZ" in local.text, " UTC" in local.text) == (True, False)
    utc = on_terminal(80, "log", "-o", "wide", "--utc", TZ="XYZ-5")
    assert (" XYZ" in utc.text, " UTC" in utc.text) == (False, True)
