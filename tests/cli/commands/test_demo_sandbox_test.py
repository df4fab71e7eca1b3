"""`alertctl demo`, `alertctl sandbox` and `alertctl test`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from alertctl.sandbox import Sandbox
from tests.support.cli import data, process, run, start
from tests.support.cli_command import write_command
from tests.support.clients import serving, settings_on, token_for

ANY_PORTS = ("--slack-port", "0", "--sendgrid-port", "0", "--smtp-port", "0")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for temporary files of processes started from here."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def everything_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_the_demo_sends_all_four_events_retries_one_and_leaves_no_trace(temporary: Path, tmp_path: Path):
    (tmp_path / ".env").write_text("SLACK_ENABLED=maybe\nDATABASE_URL=mysql://nowhere\n")
    home = Path(os.environ["HOME"])
    before = everything_below(tmp_path) | everything_below(home)
    environ = os.environ | {
        "SMTP_PORT": "70000",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    ran = process("demo", "-o", "json", env=environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    result = json.loads(ran.stdout)
    assert {item["event_type"] for item in result["items"]} == {
        "safety_rollback",
        "experiment_lifecycle",
        "rollout_advance",
        "generic_alert",
    }
    assert {item["status"] for item in result["items"]} == {"success"}
    assert len(result["retried"]) == 1
    assert {item["to"] for item in result["slack"]} == {"#platform-alerts", "#flaky", "@ana@corp.example"}
    assert {item["to"] for item in result["inbox"]} == {"admin@corp.example", "dev@corp.example"}
    assert result["seconds"] < 15
    assert everything_below(tmp_path) | everything_below(home) == before


def test_the_demo_shows_what_arrived_the_retry_and_the_log_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    ran = run("demo")
    assert ran.exit_code == 0
    for part in (
        "Slack  #platform-alerts",
        "Inbox  admin@corp.example",
        "http_503",
        "success",
        "You receive this",
        "│ @ana@corp.example ",
    ):
        assert part in ran.stdout
    assert "[Critical] Safety rollback: checkout-v3" in ran.stdout
    lines = ran.stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert not [line for line in lines if line.startswith(("--set", "\\"))], "a command that the terminal broke"
    assert "\x1b" not in ran.stdout


def test_a_demo_that_is_ended_by_a_signal_leaves_no_trace(temporary: Path):
    playing = start("demo")
    assert playing.stdout is not None
    playing.stdout.readline()
    playing.send_signal(signal.SIGTERM)
    _, stderr = playing.communicate(timeout=30)
    assert playing.returncode == 130
    assert "Traceback" not in stderr
    assert everything_below(temporary) == set()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_prints_settings_that_work_and_each_message(end, tmp_path: Path):
    serving = start("sandbox", *ANY_PORTS, "-o", "json", "--chaos", "slack.#ops=slack:is_archived")
    assert serving.stdout is not None
    settings = json.loads(serving.stdout.readline())["settings"]
    titled = ("send", "--event", "generic_alert", "--title", "Hello")
    sent = process(*titled, "--to", "slack:#ops", "--to", "slack:#x", "--to", "email:a@b", env=os.environ | settings)
    assert sent.returncode == 0
    assert "is_archived" in sent.stdout
    arrived = {json.loads(serving.stdout.readline())["to"] for _ in range(2)}
    assert arrived == {"#x", "a@b"}
    serving.send_signal(end)
    rest, stderr = serving.communicate(timeout=30)
    assert (serving.returncode, rest, stderr) == (0, "", "")


@pytest.mark.parametrize("more", [(), ("--sendgrid",)])
def test_the_sandboxs_export_lines_are_ready_to_paste_and_messages_are_drawn(more, tmp_path):
    serving = start("sandbox", *ANY_PORTS, *more)
    assert serving.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith(("export SMTP_PASSWORD", "export SENDGRID_API_URL")):
        lines.append(serving.stdout.readline())
    assert all(line.startswith("export ") for line in lines)
    script = "".join(lines) + "alertctl test slack && alertctl test email\n"
    command = write_command(tmp_path / "bin" / "alertctl")
    environ = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    tried = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    serving.send_signal(signal.SIGINT)
    shown, _ = serving.communicate(timeout=30)
    assert "Slack  #platform-alerts" in shown
    assert "Inbox  admin@corp.example" in shown


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = process("sandbox", "--slack-port", str(taken.getsockname()[1]), *ANY_PORTS[2:])
    assert ran.returncode == 1
    assert "Address already in use; choose another with --slack-port" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_test_message_shows_the_providers_own_answer(log_on, slack_and_email: Sandbox):
    fine = run("test", "slack")
    assert fine.exit_code == 0
    assert fine.stdout.startswith("Test notification sent to #platform-alerts\nThe provider said: {")
    assert "This is a test" in json.dumps(slack_and_email.slack.messages[0].blocks)
    refused = run("test", "slack", "--to", "#private")
    assert refused.exit_code == 3
    assert "Not delivered to #private: not_in_channel" in refused.stdout
    result = json.loads(run("test", "email", "--to", "missing@corp.example", "-o", "json").stdout)
    assert (result["success"], result["error"]) == (False, "550")
    assert {item["event_type"] for item in data("log")["items"]} == {"generic_alert"}
    assert len(data("log")["items"]) == 3


def test_a_test_that_is_refused_does_not_claim_that_anything_waits(log_on, slack_and_email: Sandbox):
    slack_and_email.slack.faults.always("slack:invalid_auth")
    first, _ = run("test", "slack").stderr.splitlines()
    assert first == "alertctl: sending through slack fails (invalid_auth); run alertctl doctor"
    assert (data("status")["paused"], data("status")["depth"]["slack"]) == ([], 0)


def test_a_test_email_reaches_all_admins_only_on_request(log_on, slack_and_email: Sandbox, monkeypatch):
    monkeypatch.setenv("NOTIFICATION_ADMIN_EMAILS", "ana@corp.example,bob@corp.example")
    assert run("test", "email").stdout.startswith("Test notification sent to ana@corp.example\n")
    everyone = run("test", "email", "--all")
    assert everyone.stdout.startswith("Test notification sent to ana@corp.example; Test notification sent to bob@")
    recipients = [address for message in slack_and_email.smtp.messages for address in message.rcpt_tos]
    assert sorted(recipients) == ["ana@corp.example", "ana@corp.example", "bob@corp.example"]
    both = run("test", "email", "--all", "--to", "ana@corp.example")
    assert (both.exit_code, "use --to or --all, not both" in both.stderr) == (2, True)


def test_a_test_email_reaches_the_caller_of_a_server_without_admin_addresses(
    log_on, slack_and_email: Sandbox, monkeypatch
):
    settings = settings_on(log_on, {**slack_and_email.settings(), "NOTIFICATION_ADMIN_EMAILS": ""})
    with serving(settings) as address:
        monkeypatch.setenv("ALERTCTL_SERVER", address)
        monkeypatch.setenv("ALERTCTL_TOKEN", token_for(log_on, "caller@corp.example", "developer"))
        ran = run("test", "email")
    assert (ran.exit_code, ran.stdout) == (0, "Test notification sent to caller@corp.example\n")
    assert [message.rcpt_tos for message in slack_and_email.smtp.messages] == [["caller@corp.example"]]


def test_a_test_of_a_disabled_channel_names_the_setting_that_enables_it():
    ran = run("test", "email", "--to", "a@b")
    assert ran.exit_code == 3
    assert "EMAIL_ENABLED=true" in ran.stdout
