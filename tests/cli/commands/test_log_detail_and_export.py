"""Resend, export and prune deliveries; show one in detail, with the fix of its error."""

from __future__ import annotations

import csv
import getpass
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alertctl.cli.output.deliveries import FIELDS, guard_cell
from alertctl.db import Store
from alertctl.outbox import Instance, save_report
from alertctl.sandbox import Sandbox
from tests.support.cases import each
from tests.support.cli import data, dispatched, process, run
from tests.support.terminal import on_terminal

ME = f"{getpass.getuser()} (command line)"


def send(*to: str) -> None:
    targets = [part for target in to for part in ("--to", target)]
    assert run("send", "--event", "generic_alert", "--title", "disk full", *targets).exit_code == 0


def addresses(*arguments: str) -> list[str]:
    return [item["to"] for item in data("log", *arguments)["items"]]


def detail(to: str) -> str:
    (item,) = data("log", "--to", to)["items"]
    return " ".join(run("log", "show", item["id"]).stdout.split())


@pytest.fixture
def log(slack_and_email: Sandbox) -> Sandbox:
    """Send one delivery that arrives and two that are refused for a revoked token, each in its own process."""
    send("slack:#fine")
    slack_and_email.slack.auth_error = "token_revoked"
    send("slack:#a", "email:other@corp.example")
    send("slack:#b")
    slack_and_email.slack.auth_error = None
    return slack_and_email


def test_look_then_act_the_filters_stand_before_the_command(log_on: str, log: Sandbox) -> None:
    asked = ("--status", "failed", "--error", "token_revoked")
    assert addresses(*asked) == ["#b", "#a"]
    assert [item["to"] for item in data("log", *asked, "--limit", "1", "retry", "--dry-run")["items"]] == ["#b"]
    result = data("log", *asked, "retry")
    assert [(item["to"], item["status"]) for item in result["items"]] == [("#b", "success"), ("#a", "success")]
    assert sorted(message.channel for message in log.slack.messages) == ["#a", "#b", "#fine"]
    assert data("log", "--to", "#a", "stats", "--by", "to")["total"]["success"] == 1
    assert process("log", "--to", "#a", "export").stdout.count("\n") == 1


def test_an_option_after_the_subcommand_overrides_the_one_before_it(log: Sandbox) -> None:
    result = data("log", "--to", "#a", "retry", "--to", "#b", "--dry-run")
    assert [item["to"] for item in result["items"]] == ["#b"]


@pytest.fixture
def failed_delivery(slack_and_email: Sandbox) -> None:
    send("slack:#missing")


@pytest.mark.usefixtures("failed_delivery")
@each(
    ("arguments", "named"),
    [
        (["--status", "failed", "prune", "--yes"], "--status"),
        (["--status", "failed", "show", "abc"], "--status"),
        (["--limit", "3", "export"], "--limit"),
        (["-f", "retry"], "--follow"),
        (["--fail-if-any", "stats"], "--fail-if-any"),
        (["-o", "id", "--status", "failed", "retry"], "'id' is not one of 'table', 'json'"),
        (["--status", "faild", "retry"], "did you mean failed?"),
        (["--since", "soon", "retry"], "--since"),
    ],
)
def test_an_option_that_the_subcommand_lacks_is_refused_in_one_line(arguments: list[str], named: str) -> None:
    ran = run("log", *arguments)
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert named in ran.stderr
    assert data("log")["items"][0]["attempts"] == 1


def test_a_manual_attempt_names_its_requester(log: Sandbox) -> None:
    (item,) = data("log", "retry", "--error", "token_revoked", "--to", "#a")["items"]
    tries = data("log", "show", item["id"])["attempt_log"]
    assert [(each["outcome"], each["requested_by"]) for each in tries] == [("failed", None), ("success", ME)]
    assert f"requested by {ME}" in detail("#a")
    (again,) = data("log", "retry", item["id"][-8:], "--again")["items"]
    assert (again["status"], again["attempts"]) == ("success", 3)
    assert [message.channel for message in log.slack.messages].count("#a") == 2


def test_the_detail_of_a_revoked_token_shows_its_meaning_and_fix(log: Sandbox) -> None:
    result = detail("#a")
    for part in (
        "error token_revoked: the token was revoked do Install the app to the workspace again",
        "set SLACK_BOT_TOKEN to its new token. next as soon as a process runs whose settings and credentials work",
        "why the caller named it (--to)",
        "Event disk full",
        "1. ",
        "slack: failed token_revoked",
        "The event's other deliveries",
    ):
        assert part in result


def test_a_refused_process_does_not_try_the_waiting_deliveries(log: Sandbox) -> None:
    calls = len(log.slack.calls)
    log.slack.auth_error = "token_revoked"
    send("slack:#c", "slack:#d")
    assert len(log.slack.calls) == calls + 1
    assert "Attempts none yet" in detail("#d")


def test_a_delivery_without_an_attempt_shows_when_and_by_what_it_is_sent(slack_and_email: Sandbox) -> None:
    assert run("send", "--event", "generic_alert", "--title", "x", "--to", "slack:#ops", "--queue").exit_code == 0
    result = detail("#ops")
    assert "(due), by alertctl serve or alertctl dispatch --once" in result
    assert "waits " not in result


def test_a_delivery_behind_an_open_breaker_names_the_breaker_and_its_fix(slack_and_email: Sandbox) -> None:
    for target in ("slack:#ops", "email:dev@corp.example"):
        assert run("send", "--event", "generic_alert", "--title", "x", "--to", target, "--queue").exit_code == 0
    store, instance, now = Store(os.environ["DATABASE_URL"]), Instance("1", "host1", 42), datetime.now(UTC)
    store.write(lambda connection: save_report(connection, instance, "slack", "invalid_auth", now, now, now))
    store.close()
    result = detail("#ops")
    assert "waits slack is paused on host host1, pid 42 (invalid_auth); next probe" in result
    assert "do Set SLACK_BOT_TOKEN to the app's Bot User OAuth Token" in result
    assert "waits " not in detail("dev@corp.example")


def test_an_expired_delivery_does_not_advise_to_resend_it(slack_and_email: Sandbox) -> None:
    slack_and_email.slack.faults.at("#down", "http_503")
    event = ("send", "--event", "generic_alert", "--title", "x", "--to", "slack:#down", "--expires", "1s")
    assert run(*event).exit_code == 0
    deadline = time.monotonic() + 10
    while data("log", "--to", "#down")["items"][0]["reason"] != "expired" and time.monotonic() < deadline:
        run("dispatch", "--once")
    result = detail("#down")
    assert (
        "do If people still need to know, send the event again, or run alertctl log retry if it has no --expires time."
        in result
    )
    assert "next none: this is final, and the event's --expires time has passed" in result


def test_a_missing_scope_is_named_with_the_time_of_the_next_attempt(slack_and_email: Sandbox) -> None:
    slack_and_email.slack.scopes = ("chat:write",)
    send("slack:@ana@corp.example")
    result = detail("@ana@corp.example")
    assert "error missing_scope: the token lacks a scope that this call needs" in result
    assert "do Add the scope users:read.email (api.slack.com/apps, OAuth & Permissions)" in result
    assert "as soon as a process runs whose settings and credentials work" not in result
    slack_and_email.slack.scopes = ("chat:write", "users:read.email")
    assert run("log", "retry", "--error", "missing_scope").exit_code == 0
    assert slack_and_email.slack.messages[-1].to == "@ana@corp.example"
    assert detail("@ana@corp.example").startswith("success slack @ana@corp.example")


def test_a_final_failure_announces_no_retry(slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("#down", "#over"):
        slack_and_email.slack.faults.at(address, "http_503")
    monkeypatch.setenv("RETRY_SCHEDULE", "1h")
    send("slack:#down")
    assert "do Nothing to do; alertctl retries it." in detail("#down")
    monkeypatch.setenv("RETRY_SCHEDULE", "1ms")
    send("slack:#over")
    dispatched()
    result = detail("#over")
    assert "do Run alertctl log retry once the provider works again." in result
    assert "next none: this is final" in result
    assert "alertctl retries" not in result


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("#platform-alerts", "why it is SLACK_DEFAULT_CHANNEL"),
        ("boss@corp.example", "why it is one of NOTIFICATION_ADMIN_EMAILS, and safety_rollback goes to email"),
        ("ann@corp.example", "why ann@corp.example wants safety_rollback by email (their preferences)"),
        ("#ann", "why ann@corp.example wants safety_rollback on Slack, in this channel (their preferences)"),
    ],
)
def test_why_this_target_got_it(slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch, to: str, why: str) -> None:
    monkeypatch.setenv("NOTIFICATION_ADMIN_EMAILS", "boss@corp.example")
    assert run("user", "add", "ann@corp.example").exit_code == 0
    assert run("prefs", "set", "--user", "ann@corp.example", "slack_channel=#ann").exit_code == 0
    assert run("send", "--event", "safety_rollback", "--set", "feature_flag=x", "--queue").exit_code == 0
    result = detail(to)
    assert why in result
    assert "Attempts none yet" in result


def test_a_summary_that_repeats_the_title_is_left_out(slack_and_email: Sandbox) -> None:
    assert (
        run("send", "--event", "generic_alert", "--title", "Disk full", "--to", "slack:#ops", "--queue").exit_code == 0
    )
    assert detail("#ops").count("Disk full") == 1


def test_the_message_itself_as_each_channel_has_it(slack_and_email: Sandbox) -> None:
    send("slack:#ops", "email:a@corp.example")
    ids = {item["channel"]: item["id"] for item in data("log")["items"]}
    payload = json.loads(run("log", "show", ids["slack"], "--rendered", "slack").stdout)
    (sent,) = slack_and_email.slack.messages
    assert payload["blocks"] == sent.blocks
    assert "disk full" in run("log", "show", ids["slack"], "--rendered", "text").stdout
    assert run("log", "show", ids["email"], "--rendered", "text").stdout.startswith("Subject: ")
    assert run("log", "show", ids["email"], "--rendered", "html").stdout.lower().startswith("<!doctype html")
    assert data("log", "show", ids["email"], "--rendered", "text")["to"] == "a@corp.example"
    for channel, how, right in (("email", "slack", "text or html"), ("slack", "html", "slack or text")):
        ran = run("log", "show", ids[channel], "--rendered", how)
        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert right in ran.stderr
    assert "slack, text, html" in run("log", "show", ids["slack"], "--rendered", "pdf").stderr


def test_a_rejected_message_is_shown_as_its_plain_second_attempt(slack_and_email: Sandbox) -> None:
    slack_and_email.smtp.faults.at("a@corp.example", "dot_550")
    slack_and_email.slack.faults.at("#ops", "slack:invalid_blocks")
    send("slack:#ops", "email:a@corp.example")
    items = data("log")["items"]
    assert [item["attempts"] for item in items] == [2, 2]
    ids = {item["channel"]: item["id"] for item in items}
    assert "blocks" not in json.loads(run("log", "show", ids["slack"], "--rendered", "slack").stdout)
    assert "disk full" in run("log", "show", ids["email"], "--rendered", "text").stdout
    ran = run("log", "show", ids["email"], "--rendered", "html")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "this message is plain text, without HTML: choose text" in ran.stderr


@pytest.mark.postgres
def test_an_export_writes_the_complete_log_to_stdout_or_a_file(log_on: str, slack_and_email: Sandbox) -> None:
    targets = [part for number in range(230) for part in ("--to", f"slack:#n{number}")]
    assert run("send", "--event", "generic_alert", "--title", "x", "--queue", *targets).exit_code == 0
    items = data("log", "--limit", "1000")["items"]
    lines = run("log", "export").stdout.splitlines()
    assert [json.loads(line) for line in lines] == items
    assert run("log", "export", "-").stdout.splitlines() == lines
    ran = run("log", "export", "--to", "#n7", "-o", "csv", "seven.csv")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "1 delivery in seven.csv\n")
    with Path("seven.csv").open(newline="") as file:
        heading, row = csv.reader(file)
    assert (tuple(heading), row[0]) == (FIELDS, items[222]["id"])
    assert run("log", "export", "all.jsonl").exit_code == 0
    assert Path("all.jsonl").read_text().splitlines() == lines
    assert {path.name for path in Path().glob(".*.jsonl.*")} == set()


def test_an_export_for_a_spreadsheet_has_no_formula(slack_and_email: Sandbox) -> None:
    send("email:=1+1@corp.example", "email:+a@corp.example", "email:-b@corp.example", "slack:#c")
    lines = run("log", "export", "-o", "csv", "--for-spreadsheet").stdout.splitlines()
    exported = {row["to"] for row in csv.DictReader(lines)}
    assert exported == {"'=1+1@corp.example", "'+a@corp.example", "'-b@corp.example", "#c"}
    plain = csv.DictReader(run("log", "export", "-o", "csv").stdout.splitlines())
    assert "=1+1@corp.example" in {row["to"] for row in plain}
    ran = run("log", "export", "--for-spreadsheet")
    assert (ran.exit_code, "add -o csv" in ran.stderr) == (2, True)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_begins_like_a_formula_is_text(start: str) -> None:
    assert guard_cell(f"{start}1") == f"'{start}1"
    assert (guard_cell(f"1{start}"), guard_cell(-1), guard_cell(None)) == (f"1{start}", -1, None)


def test_an_export_replaces_no_link_and_no_pipe(slack_and_email: Sandbox) -> None:
    send("slack:#ops")
    Path("link").symlink_to("real")
    os.mkfifo("pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit(Path("pipe").read_text)
        assert [run("log", "export", file).exit_code for file in ("link", "pipe")] == [0, 0]
        assert read.result() == Path("real").read_text() != ""
    assert Path("link").is_symlink()
    assert Path("pipe").is_fifo()


def test_an_export_that_can_not_be_written_leaves_what_was_there(slack_and_email: Sandbox) -> None:
    send("slack:#ops")
    Path("folder").mkdir()
    for file in ("no/such/folder/x", "folder"):
        ran = run("log", "export", file)
        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert ran.stderr.startswith(f"alertctl: FILE: {file}: ")
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []


def test_prune_asks_on_a_terminal_and_elsewhere_needs_yes(slack_and_email: Sandbox) -> None:
    send("slack:#ops", "slack:#missing")
    ran = run("log", "prune", "--older-than", "1ms")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "--yes: is required without a terminal; it confirms the deletion of 2 deliveries" in ran.stderr
    assert data("log", "prune", "--older-than", "1ms", "--dry-run") == {"deliveries": 2, "dry_run": True}
    refused = on_terminal(60, "log", "prune", "--older-than", "1ms", typed="n\n")
    assert (refused.code, "Delete 2 deliveries from the log?" in refused.words) == (1, True)
    assert run("log", "prune", "--yes").stderr == "0 deliveries were deleted\n"
    assert len(addresses()) == 2
    done = on_terminal(60, "log", "prune", "--older-than", "1ms", typed="y\n")
    assert (done.code, "2 deliveries were deleted" in done.words) == (0, True)
    assert addresses() == []
    assert "--older-than" in run("log", "prune", "--older-than", "old").stderr
    send("slack:#ops")
    assert run("log", "prune", "--older-than", "1ms", "--yes").stderr == "1 delivery was deleted\n"


def test_the_detail_names_the_thread_of_a_message_and_lists_the_replies_of_a_root(slack_and_email: Sandbox) -> None:
    for percentage in ("10", "50"):
        fields = ("--set", "feature_flag=checkout-v3", "--set", f"to_percentage={percentage}")
        assert run("send", "--event", "rollout_advance", *fields).exit_code == 0
    reply, root = data("log")["items"]
    assert (root["thread_id"], reply["thread_id"]) == (root["id"], root["id"])
    shown = run("log", "show", root["id"]).stdout
    assert "thread    root of a thread, edited 20" in shown
    assert reply["id"][-8:] in shown.split("Replies in its thread")[1]
    assert f"reply in the thread of {root['id']}" in " ".join(run("log", "show", reply["id"]).stdout.split())
    assert [item["id"] for item in data("log", "show", root["id"])["replies"]] == [reply["id"]]
    (edited,) = slack_and_email.slack.edits
    assert edited.ts == root["provider_id"]
    assert data("log", "show", root["id"])["edited_at"] >= edited.at.isoformat()[:19]
    assert data("log", "show", reply["id"])["edited_at"] is None
