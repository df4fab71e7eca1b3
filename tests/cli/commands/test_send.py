"""`alertctl send`: events are recorded, then sent at once, and the output reports both."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alertctl.channels.slack import block_text
from alertctl.sandbox import Sandbox
from tests.support import cli_process
from tests.support.cases import each
from tests.support.cli import COMMAND, DELIVERY_FIELDS, data, dispatched, loaded_modules, messages, process, run, start

EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TITLED = ("send", "--event", "generic_alert", "--title", "Disk full")
UNUSED = (
    *("fastapi", "uvicorn", "apscheduler", "prometheus_client", "jwt", "cryptography", "alembic", "mako", "psycopg"),
    *("sendgrid", "jinja2", "rich", "tomllib", "dotenv", "alertctl.api", "alertctl.daemon", "alertctl.doctor"),
    *("alertctl.preview", "alertctl.route_test", "alertctl.db.copy", "alertctl.schemas.routes"),
)
"""Modules that a `send` to Slack on SQLite does not need."""
ROLLBACK = ("send", "--event", "safety_rollback", "--set", "feature_flag=checkout-v3")


@pytest.mark.postgres
def test_an_alert_arrives_on_slack_and_by_email(log_on, slack_and_email: Sandbox):
    ran = run(*ROLLBACK, "--set", "metric=error_rate", "--set", "value=0.07142857", "--set", "threshold=0.05")
    assert ran.exit_code == 0
    assert "checkout-v3" in slack_and_email.slack.messages[0].text
    assert "7.143%" in slack_and_email.slack.messages[0].text
    assert slack_and_email.smtp.messages[0].parsed["Subject"] == "[Critical] Safety rollback: checkout-v3"
    assert [line.split()[2] for line in ran.stdout.splitlines()[1:]] == ["success", "success"]
    assert EVENT_ID.fullmatch(ran.stderr.splitlines()[0].removeprefix("recorded "))


def test_a_send_to_slack_loads_nothing_of_the_daemon_email_and_migrations(
    slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EMAIL_ENABLED", "false")
    assert loaded_modules(*TITLED, "--to", "slack:#ops") & set(UNUSED) == set()
    assert len(slack_and_email.slack.messages) == 1


def test_an_alert_that_lacks_everything_is_sent_with_a_warning(slack_and_email: Sandbox):
    ran = run("send", "--event", "safety_rollback")
    assert ran.exit_code == 0
    assert "warning: safety_rollback without feature_flag" in ran.stderr
    assert "%" not in slack_and_email.slack.messages[0].text


def test_json_has_the_event_its_deliveries_and_the_warnings(log_on, slack_and_email: Sandbox):
    result = data(*ROLLBACK, "--to", "slack:#missing", "--to", "slack:#ops")
    assert set(result) == {"event_id", "event_type", "created", "deliveries", "warnings"}
    assert [(item["to"], item["status"], item["error"]) for item in result["deliveries"]] == [
        ("#missing", "failed", "channel_not_found"),
        ("#ops", "success", None),
    ]
    assert any("channel_not_found" in warning for warning in result["warnings"])
    assert set(result["deliveries"][0]) >= set(DELIVERY_FIELDS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--to", "slack:#ops"], 0),
        (["--to", "slack:#missing"], 3),
        (["--to", "slack:#ops", "--to", "slack:#flaky"], 3),
        (["--to", "slack:#missing", "--queue"], 0),
        (["--to", "slack:#ops", "--channel", "email"], 3),
        (["--to", "slack:#ops", "--channel", "email", "--queue"], 3),
        (["--to", "slack:#ops", "--channel", "email", "--dry-run"], 3),
        (["--to", "slack:#missing", "--dry-run"], 0),
    ],
)
def test_a_failed_delivery_changes_the_exit_code_only_with_strict(slack_and_email: Sandbox, arguments, code):
    assert run(*TITLED, *arguments).exit_code == 0
    slack_and_email.clear()
    assert run(*TITLED, *arguments, "--strict").exit_code == code


def test_an_event_without_targets_is_a_warning_with_a_fix():
    ran = run(*ROLLBACK)
    assert ran.exit_code == 0
    assert "no message is sent: set SLACK_ENABLED to true" in ran.stderr
    assert "slack_disabled" in ran.stdout
    assert run(*ROLLBACK, "--strict").exit_code == 3


@pytest.mark.parametrize("more", [("--queue",), ("--dry-run",)])
def test_targets_that_the_channel_option_excludes_are_a_warning(slack_and_email: Sandbox, more):
    ran = run(*TITLED, "--to", "slack:#ops", "--channel", "email", *more)
    assert "no recipients: channel email excludes every target of `to`" in ran.stderr


def test_a_repeated_call_warns_again_of_an_event_without_targets(slack_and_email: Sandbox):
    rollout = ("send", "--event", "rollout_advance", "--channel", "email", "--idempotency-key", "job-1", "--strict")
    for _ in range(2):
        ran = run(*rollout)
        assert (ran.exit_code, ran.stderr.count("no recipients on email: ")) == (3, 1)


def test_an_event_whose_targets_are_all_duplicates_needs_no_advice(slack_and_email: Sandbox):
    repeated = (*TITLED, "--to", "slack:#ops", "--dedup-key", "disk", "--dedup-window", "1h")
    assert run(*repeated).exit_code == 0
    ran = run(*repeated)
    assert "1 suppressed" in ran.stderr
    assert "no message is sent" not in ran.stderr
    assert run(*repeated, "--strict").exit_code == 0


def test_queue_records_and_dispatch_once_sends(log_on, slack_and_email: Sandbox):
    assert "pending" in run(*TITLED, "--to", "slack:#ops", "--queue").stdout
    assert slack_and_email.slack.messages == []
    done = run("dispatch", "--once")
    assert done.stdout == "1 attempted: 1 success, 0 to be retried, 0 failed\n"
    assert data("dispatch", "--once") == {"attempted": 0, "success": 0, "retrying": 0, "failed": 0}
    assert len(slack_and_email.slack.messages) == 1


def test_a_503_is_retried_to_success_by_dispatch_once(log_on, slack_and_email: Sandbox):
    ran = run(*TITLED, "--to", "slack:#flaky")
    assert ran.exit_code == 0
    assert (
        "warning: slack #flaky: http_503; alertctl serve or dispatch --once retries it (alertctl log show" in ran.stderr
    )
    assert dispatched()["success"] == 1
    (item,) = data("log")["items"]
    assert (item["status"], item["attempts"], item["error"]) == ("success", 2, None)


def test_a_dry_run_and_the_log_name_the_people_who_are_mentioned(
    slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SLACK_MENTION", "ana@corp.example,S0123ABCD")
    assert "\n    ana@corp.example @S0123ABCD\n" in run(*ROLLBACK, "--dry-run").stdout
    assert slack_and_email.slack.calls == [], "nobody is looked up"
    assert run(*ROLLBACK).exit_code == 0
    (item,) = data("log", "--channel", "slack")["items"]
    assert "\nana@corp.example @S0123ABCD\n" in run("log", "show", item["id"], "--rendered", "text").stdout


def test_a_dry_run_warns_as_a_send_does(slack_and_email: Sandbox):
    publish = ("send", "--event", "rollout_advance", "--set", "flag=x", "--url", "ftp://x/y")
    warnings = [line for line in run(*publish, "--dry-run").stderr.splitlines() if "warning: " in line]
    assert [line.partition("warning: ")[2].partition(":")[0] for line in warnings] == [
        "flag",
        "rollout_advance without feature_flag, to_percentage",
        "url",
    ]
    assert all(line in run(*publish).stderr for line in warnings)
    texts = [line.partition("warning: ")[2] for line in warnings]
    assert data(*publish, "--dry-run")["warnings"] == texts


def test_a_dry_run_shows_the_message_and_records_nothing(slack_and_email: Sandbox):
    ran = run(*ROLLBACK, "--dry-run")
    assert "slack #platform-alerts (the default channel)" in ran.stdout
    assert "    🚨 Safety rollback: checkout-v3" in ran.stdout
    assert "    Subject: [Critical] Safety rollback: checkout-v3" in ran.stdout
    assert data("log")["items"] == []
    assert slack_and_email.slack.calls == []
    items = data(*ROLLBACK, "--dry-run")["items"]
    assert [(item["channel"], item["to"]) for item in items] == [
        ("slack", "#platform-alerts"),
        ("email", "admin@corp.example"),
    ]


def test_the_same_key_sends_nothing_twice(log_on, slack_and_email: Sandbox):
    first = data(*TITLED, "--set", "dedup_key=k", "--to", "slack:#ops")
    again = run(*TITLED, "--set", "dedup_key=k", "--to", "slack:#ops")
    assert f"already recorded as {first['event_id']} with this key" in again.stderr
    assert again.exit_code == 0
    assert len(slack_and_email.slack.messages) == 1
    other = run("send", "--event", "generic_alert", "--title", "Other", "--set", "dedup_key=k")
    assert (other.exit_code, other.stdout) == (0, "")
    assert "warning: dedup_key 'k' was already used" in other.stderr


def test_flags_win_over_json_from_a_file_or_stdin(slack_and_email: Sandbox, tmp_path: Path):
    body = {"event_type": "generic_alert", "title": "A", "message": "B", "details": {"host": "db7", "rack": 4}}
    (tmp_path / "event.json").write_text(json.dumps(body | {"to": ["slack:#json"]}), encoding="utf-8-sig")
    assert run("send", "--json", "event.json", "--title", "C", "--set", "details.host=db8").exit_code == 0
    (message,) = slack_and_email.slack.messages
    assert message.channel == "#json"
    assert "C. B" in message.text
    fields = json.dumps(message.blocks)
    assert "db8" in fields
    assert "rack: 4" in "\n".join(map(block_text, message.blocks))
    assert run("send", "--json", "-", "--to", "slack:#flag", input=json.dumps(body)).exit_code == 0
    assert slack_and_email.slack.messages[1].channel == "#flag"


def test_json_from_a_closed_stdin_is_one_line_and_2():
    ran = process("send", "--event", "generic_alert", "--json", "-", preexec_fn=lambda: os.close(0))
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", "alertctl: --json: stdin is closed\n")


def test_an_empty_value_leaves_a_field_out_so_that_scripts_need_no_if(slack_and_email: Sandbox):
    fields = json.dumps({"winner": "variant-a", "action": "completed"})
    options = ("--set", "winner=", "--set", "owner=", "--set", "details.x=", "--json", "-")
    assert run("send", "--event", "experiment_lifecycle", *options, input=fields).exit_code == 0
    assert "variant-a" not in slack_and_email.slack.messages[0].text


@each(
    ("arguments", "message"),
    [
        (["send"], "--event: is missing; use safety_rollback,"),
        (["send", "--event", "safety_rolback"], "did you mean safety_rollback?"),
        (["send", "--event", "safety_rollback", "--set", "value=much"], "value: "),
        (["send", "--event", "safety_rollback", "--set", "value"], "--set: 'value' is not field=value"),
        (["send", "--event", "generic_alert"], "title: is missing; generic_alert requires it"),
        (["send", "--event", "generic_alert", "--set", "title="], "title: is missing; generic_alert requires it"),
        (["send", "--event", "generic_alert", "--title", "x", "--severity", "bad"], "severity: "),
        (["send", "--event", "generic_alert", "--title", "x", "--to", "ops"], "to: 'ops' is not a target"),
        (["send", "--event", "generic_alert", "--title", "x", "--channel", "slak"], "did you mean slack?"),
        (["send", "--event", "generic_alert", "--json", "gone.json"], "--json: gone.json: No such file"),
        (["send", "--event", "generic_alert", "--set", "details.=x"], "details.NAME=value needs a name"),
        ([*TITLED, "--idempotency-key", ""], "idempotency_key: should be 1 to 255 printable ASCII characters"),
        ([*TITLED, "--dedup-window", "30m"], "dedup_window: requires a dedup_key"),
        ([*TITLED, "--dedup-window", "soon"], '--dedup-window: "soon" is not a duration (90s'),
        ([*TITLED, "--dedup-key", "k", "--dedup-window", "60d"], "dedup_window: should be 1 second to 30 days"),
        ([*TITLED, "--dedup-key", "k", "--dedup-window", "0"], "dedup_window: should be 1 second to 30 days"),
        ([*TITLED, "--expires", "0s"], '--expires: "0s" is out of range (0.001s to 36500d)'),
        ([*TITLED, "--wait=later"], '--wait: "later" is not a duration (90s'),
        ([*TITLED, "--wait=2d"], '--wait: "2d" is out of range (0s to 1d)'),
        ([*TITLED, "--wait", "--queue"], "--wait: can't be combined with --queue"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line_that_names_it(arguments, message):
    ran = run(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("alertctl: ")
    assert ran.stderr.count("\n") == 1
    assert message in ran.stderr


@each(
    ("body", "message"),
    [
        ("[1]", "should hold one object"),
        ("{", "is not JSON"),
        ('{"title": NaN}', "NaN is not a number"),
        ("[" * 100_000, "is not JSON"),
        ('{"event_type": 1}', "event_type: should be text"),
        ('{"to": 7}', "to: should be a list"),
        ('{"to": [7]}', "to: should be a list"),
        ('{"channel": []}', "channel: should be text"),
        ('{"title": "x", "details": {"a": {"b": 1}}}', "details.a: should be text, a number"),
        ('{"event_type": "generic_alert", "title": ["x"]}', "title: "),
        ('{"title": "x", "details": ' + '{"a":' * 900 + "1" + "}" * 901, "levels of objects and lists"),
        (b"\xff\xfe{", "is not JSON"),
        ('{"title": "x", "expires_at": "soon"}', "expires_at: should be a time like"),
        ('{"title": "x", "dedup_window": "soon"}', 'dedup_window: "soon" is not a duration'),
    ],
)
def test_wrong_json_ends_with_2_and_one_line(body, message):
    arguments = () if "event_type" in str(body) else ("--event", "generic_alert")
    ran = run("send", *arguments, "--json", "-", input=body)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    assert message in ran.stderr


def test_a_database_that_cannot_be_reached_counts_with_strict_only():
    for strict, code in (((), 0), (("--strict",), 5)):
        ran = run("--database", "sqlite:////proc/none/alertctl.db", *ROLLBACK, *strict)
        assert (ran.exit_code, ran.stdout) == (code, "")
        assert ran.stderr.startswith("alertctl: database /proc/none/alertctl.db: ")
    ran = run("--database", "sqlite:////proc/none/alertctl.db", *ROLLBACK, "--dry-run")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (5, "", 1)


@pytest.mark.postgres
def test_a_job_repeated_with_its_key_sends_once(log_on, slack_and_email: Sandbox):
    job = (*TITLED, "--to", "slack:#ops", "--idempotency-key", "build 42")
    first, again = data(*job), data(*job)
    assert (first["created"], again["created"], again["event_id"]) == (True, False, first["event_id"])
    assert len(slack_and_email.slack.messages) == 1
    other = run(*ROLLBACK, "--to", "slack:#ops", "--idempotency-key", "build 42")
    assert (other.exit_code, other.stdout, other.stderr.count("\n")) == (0, "", 1)
    assert "warning: idempotency key 'build 42' was already used" in other.stderr
    assert other.stderr.endswith("this event is not recorded, and nobody is notified\n")
    strict = run(*ROLLBACK, "--to", "slack:#ops", "--idempotency-key", "build 42", "--strict", "-o", "json")
    result = json.loads(strict.stdout)
    assert (strict.exit_code, result["event_id"], result["lost"], result["spooled"]) == (3, None, False, False)


def test_within_a_dedup_window_the_later_ones_are_held_back(log_on, slack_and_email: Sandbox):
    storm = ("--to", "slack:#ops", "--dedup-key", "disk", "--dedup-window", "30m")
    first, second = data(*TITLED, *storm), data("send", "--event", "generic_alert", "--title", "Still full", *storm)
    assert (second["created"], second["deliveries"][0]["status"]) == (True, "suppressed")
    assert second["deliveries"][0]["error"] == f"duplicate of {first['event_id']}"
    assert f"duplicate of {first['event_id']}: 1 suppressed" in second["warnings"]
    assert not any("enable a channel" in warning for warning in second["warnings"])
    assert run(*TITLED, *storm, "--strict", "--wait").exit_code == 0
    assert len(slack_and_email.slack.messages) == 1


def test_an_alert_that_is_too_old_to_help_is_not_sent_any_more(log_on, slack_and_email: Sandbox):
    run(*TITLED, "--to", "slack:#ops", "--queue", "--expires", "100ms")
    run(*TITLED, "--to", "slack:#fresh", "--queue", "--expires", "2h")
    time.sleep(0.15)
    run("dispatch", "--once")
    assert [message.channel for message in slack_and_email.slack.messages] == ["#fresh"]
    late = next(item for item in data("log")["items"] if item["to"] == "#ops")
    assert (late["status"], late["error"], late["next_attempt_at"]) == ("failed", "expired", None)


def test_an_address_that_shows_its_channel_needs_no_prefix(slack_and_email: Sandbox):
    assert run(*TITLED, "--to", "#ops", "--to", "ops@corp.example", "--strict").exit_code == 0
    assert [message.channel for message in slack_and_email.slack.messages] == ["#ops"]
    assert [mail.rcpt_tos for mail in slack_and_email.smtp.messages] == [["ops@corp.example"]]


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (["--severity", "CRITICAL"], "warning: severity: 'CRITICAL' is read as critical"),
        (["--set", "titel=x"], "warning: titel: generic_alert has no such field, shown as a detail"),
        (["--set", "titel="], "warning: titel: generic_alert has no such field, left out"),
        (["--url", "wiki.corp.example/x"], "warning: url: 'wiki.corp.example/x' is not an http:// or https:// address"),
        (["--url", "https://ana:secret@wiki.corp.example"], "warning: url: it holds a user name or a password"),
    ],
)
def test_a_mistake_that_leaves_the_alert_clear_is_a_warning(slack_and_email: Sandbox, options, warning):
    ran = run(*TITLED, *options, "--to", "slack:#ops", "--strict")
    assert ran.exit_code == 0
    assert warning in ran.stderr
    assert len(slack_and_email.slack.messages) == 1


@pytest.mark.parametrize("wait", [["--wait"], ["--wait=30s"], ["--wait", "30s"], ["--wait=30"]])
def test_wait_stays_until_every_delivery_is_final(slack_and_email: Sandbox, wait):
    slack_and_email.slack.faults.then("http_503", "http_503")
    ran = run(*TITLED, "--to", "slack:#ops", "--to", "slack:#missing", *wait, "--strict", "-o", "json")
    result = {item["to"]: (item["status"], item["attempts"]) for item in json.loads(ran.stdout)["deliveries"]}
    assert result["#missing"][0] == "failed"
    assert result["#ops"][0] == "success"
    assert sum(attempts for _, attempts in result.values()) == 4
    assert ran.exit_code == 3


def test_a_wait_ends_when_its_time_is_up(slack_and_email: Sandbox, monkeypatch):
    monkeypatch.setenv("RETRY_SCHEDULE", "1h")
    began = time.monotonic()
    ran = run(*TITLED, "--to", "slack:#flaky", "--wait=1s")
    assert 1 <= time.monotonic() - began < 20
    assert ran.exit_code == 0
    assert "warning: slack #flaky: http_503; alertctl serve or dispatch --once retries it" in ran.stderr


def test_a_wait_names_a_provider_that_refuses_us_once(slack_and_email: Sandbox):
    slack_and_email.slack.faults.always("slack:invalid_auth")
    ran = run(*TITLED, "--to", "slack:#ops", "--wait=1s")
    assert ran.stderr.count("sending through slack fails (invalid_auth); run alertctl doctor") == 1
    assert len(slack_and_email.slack.calls) == 1


@pytest.mark.postgres
def test_a_wait_hears_what_a_daemon_did(log_on, slack_and_email: Sandbox):
    slack_and_email.slack.faults.then("http_503")
    waiting = start(
        *TITLED, "--to", "slack:#ops", "--wait=30s", "-o", "json", env=os.environ | {"RETRY_SCHEDULE": "20s"}
    )
    assert waiting.stderr is not None
    ((_, recorded),) = messages(waiting.stderr.readline())
    event_id = recorded.removeprefix("recorded ")
    while not data("log", "--event-id", event_id)["items"][0]["error"]:
        time.sleep(0.05)
    run("log", "retry", "--event-id", event_id)
    result = json.loads(waiting.communicate(timeout=60)[0])
    assert [(item["status"], item["attempts"]) for item in result["deliveries"]] == [("success", 2)]


def test_json_may_hold_what_the_api_takes_beside_the_fields(slack_and_email: Sandbox):
    body = {"title": "x", "to": ["slack:#ops"], "dedup_key": "k", "dedup_window": 60}
    moments = {"expires_at": "2099-01-01T00:00:00Z", "originally_published_at": "2026-03-02T14:32:00Z"}
    result = data("send", "--event", "generic_alert", "--json", "-", "--queue", input=json.dumps(body | moments))
    event = data("log", "show", result["deliveries"][0]["id"])["event"]
    assert (event["expires_at"], event["occurred_at"]) == ("2099-01-01T00:00:00Z", "2026-03-02T14:32:00Z")


def test_json_of_version_0_1_may_say_said_at(slack_and_email: Sandbox):
    body = json.dumps({"title": "x", "to": ["slack:#ops"], "said_at": "2026-03-02T14:32:00Z"})
    result = data("send", "--event", "generic_alert", "--json", "-", "--queue", input=body)
    assert result["warnings"] == []
    event = data("log", "show", result["deliveries"][0]["id"])["event"]
    assert event["occurred_at"] == "2026-03-02T14:32:00Z"


def test_a_receipt_lists_deliveries_with_time_and_provider_id(log_on, slack_and_email: Sandbox, tmp_path: Path):
    result = data(*TITLED, "--to", "slack:#ops", "--to", "slack:#missing", "--receipt", "receipt.json")
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert (receipt["outcome"], receipt["created"], receipt["spooled"]) == ("recorded", True, False)
    assert (receipt["event_id"], receipt["warnings"]) == (result["event_id"], result["warnings"])
    missing, ops = sorted(receipt["deliveries"], key=lambda item: item["to"])
    (message,) = slack_and_email.slack.messages
    assert (ops["status"], ops["provider_id"], ops["error"]) == ("success", message.ts, None)
    assert ops["latency_ms"] >= 0
    assert ops["when"].endswith("Z")
    assert (missing["status"], missing["error"], missing["latency_ms"]) == ("failed", "channel_not_found", None)
    run(*TITLED, "--idempotency-key", receipt["idempotency_key"], "--to", "slack:#x", "--receipt", "receipt.json")
    assert json.loads((tmp_path / "receipt.json").read_text())["outcome"] == "refused"
    assert [file.name for file in tmp_path.iterdir() if "receipt" in file.name] == ["receipt.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "outcome", "error"),
    [
        (TITLED, 0, "recorded", None),
        (("send", "--event", "nonsense"), 2, "refused", "event_type: 'nonsense' is not an event type"),
        (("send",), 2, "refused", "--event: is missing"),
        (("--database", "sqlite:////proc/none/a.db", *TITLED), 0, "spooled", "database /proc/none/a.db: "),
    ],
)
def test_every_outcome_writes_a_receipt(tmp_path: Path, arguments, code, outcome, error):
    assert run(*arguments, "--receipt", "receipt.json").exit_code == code
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert receipt["outcome"] == outcome
    assert (receipt["error"] or "").startswith(error or "")


def test_a_receipt_that_cannot_be_written_is_only_a_warning(slack_and_email: Sandbox, tmp_path: Path):
    for path in ("gone/receipt.json", str(tmp_path)):
        ran = run(*TITLED, "--to", "slack:#ops", "--receipt", path)
        assert ran.exit_code == 0
        assert ran.stderr.count(f"warning: --receipt {path}: ") == 1
    assert len(slack_and_email.slack.messages) == 2


def test_a_receipt_into_a_pipe_or_our_own_stdout_is_written_once(slack_and_email: Sandbox, tmp_path: Path):
    os.mkfifo("pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit(Path("pipe").read_text)
        assert run(*TITLED, "--to", "slack:#ops", "--receipt", "pipe").exit_code == 0
        assert json.loads(read.result())["deliveries"][0]["status"] == "success"
    with Path("out").open("w") as out:
        out.write("before\n")
        out.flush()
        cli_process.run([*COMMAND, *TITLED, "--queue", "--receipt", "/dev/stdout"], stdout=out, check=True)
    first, table, *receipt = Path("out").read_text().split("\n", 2)
    assert (first, table.split()[0]) == ("before", "ID")
    assert json.loads("{" + receipt[0].partition("{")[2])["outcome"] == "recorded"


def test_arguments_that_are_no_utf8_never_end_in_a_traceback(slack_and_email: Sandbox):
    hostile = b"bad\xff\xfe\x1b[2J\xe2\x80\xa8"
    sent = process("send", "--event", "generic_alert", "--title", hostile, "--to", "slack:#ops")
    assert (sent.returncode, "\x1b" in sent.stdout + sent.stderr) == (0, False)
    for arguments in (
        ("send", "--event", hostile),
        ("send", "--event", "generic_alert", "--title", "x", "--to", hostile),
        ("log", "--status", hostile),
        ("log", "--since", hostile),
        ("log", "show", hostile),
        (hostile,),
    ):
        ran = process(*arguments)
        assert ran.returncode == 2
        assert ran.stderr.startswith("alertctl: ")
        assert ran.stderr.count("\n") == 1
        assert "\x1b" not in ran.stderr


def test_a_send_killed_after_printing_recorded_loses_nothing(slack_and_email: Sandbox):
    slack_and_email.slack.faults.always("stall")
    sending = start(*TITLED, "--to", "slack:#ops")
    assert sending.stderr is not None
    event_id = sending.stderr.readline().removeprefix("recorded ").strip()
    sending.kill()
    sending.communicate()
    (item,) = data("log")["items"]
    assert (item["event_id"], item["to"]) == (event_id, "#ops")
    assert item["next_attempt_at"] is not None


def test_ctrl_c_while_a_provider_stalls_ends_with_130_and_no_noise(slack_and_email: Sandbox, monkeypatch):
    monkeypatch.setenv("ALERTCTL_DEADLINE", "1")
    slack_and_email.slack.faults.always("stall")
    sending = start(*TITLED, "--to", "slack:#ops")
    assert sending.stderr is not None
    assert sending.stderr.readline().startswith("recorded ")
    sending.send_signal(signal.SIGINT)
    _, message = sending.communicate(timeout=30)
    assert sending.returncode == 130
    assert "Traceback" not in message


def test_labels_come_from_flags_and_json_and_flags_win(log_on, slack_and_email: Sandbox):
    body = {"feature_flag": "checkout-v3", "labels": {"team": "growth", "region": "eu", "canary": True, "note": "x"}}
    arguments = ("--json", "-", "--label", "team=payments", "--label", "note=", "--to", "slack:#ops")
    result = data("send", "--event", "safety_rollback", *arguments, input=json.dumps(body))
    labels = {"team": "payments", "region": "eu", "canary": "true"}
    assert result["deliveries"][0]["labels"] == data("log")["items"][0]["labels"] == labels
    assert not [warning for warning in result["warnings"] if "label" in warning]


@pytest.mark.parametrize(
    ("arguments", "body", "problem"),
    [
        (["--label", "team"], None, "--label: 'team' is not NAME=VALUE"),
        (
            ["--label", "my team=x"],
            None,
            "labels: 'my team' is not a label name: use 1 to 63 characters: letters, digits and _ . - /",
        ),
        ([], {"labels": ["team"]}, 'labels: should be an object of names and values: {"team": "growth"}'),
        (["--label", "a=b"], {"labels": "c"}, 'labels: should be an object of names and values: {"team": "growth"}'),
    ],
)
def test_a_wrong_label_is_refused_and_nothing_is_recorded(arguments, body, problem):
    json_options = ["--json", "-"] if body else []
    ran = run(*ROLLBACK, *arguments, *json_options, input=json.dumps(body) if body else None)
    assert (ran.exit_code, ran.stderr) == (2, f"alertctl: {problem}\n")
    assert data("log")["items"] == []


def test_a_secret_in_a_label_is_masked_everywhere(slack_and_email: Sandbox):
    token = "xoxb-123456789012-abcdefghijkl"
    ran = run(*ROLLBACK, "--label", f"note={token}", "--to", "slack:#ops")
    assert ran.exit_code == 0
    outputs = [run("log", "-o", output).stdout for output in ("json", "csv", "wide")]
    assert [token in output for output in outputs] == [False] * 3
    assert data("log", "--label", f"note={token}")["items"][0]["labels"] == {"note": "***"}
