"""`send` with a wrong setting of one channel: the event is recorded, and that channel's deliveries name the setting."""

from __future__ import annotations

import pytest

from alertctl.sandbox import Sandbox
from tests.support.cases import each
from tests.support.cli import data, run

SEND = ("send", "--event", "generic_alert", "--title", "Disk full")
BOTH = ("--to", "slack:#ops", "--to", "email:ana@corp.example")


@pytest.mark.parametrize(
    ("name", "value", "channels"),
    [
        ("SMTP_PORT", "abc", {"email"}),
        ("SMTP_SECURITY", "perhaps", {"email"}),
        ("SMTP_PASSWORD_FILE", "/no/such", {"email"}),
        ("EMAIL_FROM_ADDRESS", "nobody", {"email"}),
        ("EMAIL_ENABLED", "perhaps", {"email"}),
        ("SENDGRID_API_KEY", "SG.naïve", {"email"}),
        ("SLACK_API_URL", "nonsense", {"slack"}),
        ("SLACK_BOT_TOKEN", "xoxb naïve", {"slack"}),
        ("SLACK_BOT_TOKEN_FILE", "/no/such", {"slack"}),
        ("SLACK_ENABLED", "perhaps", {"slack"}),
        ("SLACK_PER_SECOND", "many", {"slack"}),
        ("ALERTCTL_CA_BUNDLE", "/no/such", {"slack", "email"}),
        ("ALERTCTL_CA_BUNDLE", "not.pem", {"slack", "email"}),
    ],
)
def test_a_wrong_channel_setting_holds_up_that_channel_only(
    slack_and_email: Sandbox, monkeypatch, tmp_path, name, value, channels
):
    (tmp_path / "not.pem").write_text("no certificate")
    if name.endswith("_FILE"):
        monkeypatch.delenv(name.removesuffix("_FILE"), raising=False)
    monkeypatch.setenv(name, value)
    ran = run(*SEND, *BOTH)
    assert ran.exit_code == 0
    assert "recorded " in ran.stderr
    monkeypatch.delenv(name)
    for item in data("log")["items"]:
        if item["channel"] not in channels:
            assert item["status"] == "success"
            continue
        code = "bad_ca_bundle" if name == "ALERTCTL_CA_BUNDLE" else "not_configured"
        assert (item["status"], item["reason"], item["error"]) == ("failed", "config", code)
        assert name in data("log", "show", item["id"])["attempt_log"][-1]["answer"]
    assert len(slack_and_email.slack.messages) == ("slack" not in channels)
    assert len(slack_and_email.smtp.messages) == ("email" not in channels)


def test_settings_of_the_mail_server_do_not_matter_to_sendgrid(slack_and_email: Sandbox, monkeypatch):
    for name, value in slack_and_email.settings(email="sendgrid").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SMTP_PORT", "abc")
    (item,) = data(*SEND, "--to", "email:ana@corp.example")["deliveries"]
    assert item["status"] == "success"


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        ("RETRY_SCHEDULE", "soon", "; the default applies: 5s 30s 2m 10m 1h 4h"),
        ("ALERTCTL_DEADLINE", "never", "; the default applies: 10"),
        ("PRUNE_SUCCESS_DAYS", "0", "; the default applies: 30"),
        ("SLACK_STYLE", "tiny", "; the default applies: full"),
        ("ALERTCTL_TOKEN", "ï", ""),
    ],
)
def test_a_wrong_setting_of_no_channel_is_a_warning(slack_and_email: Sandbox, monkeypatch, name, value, end):
    monkeypatch.setenv(name, value)
    ran = run(*SEND, "--to", "slack:#ops", "--strict")
    assert ran.exit_code == 0
    (warning,) = [line for line in ran.stderr.splitlines() if f"alertctl: warning: {name}: " in line]
    assert (warning.endswith(end), "the default applies" in warning) == (True, bool(end))
    assert len(slack_and_email.slack.messages) == 1


@pytest.mark.parametrize(("name", "value"), [("SLACK_DEFAULT_CHANNEL", "#a b"), ("NOTIFICATION_ADMIN_EMAILS", "ana")])
def test_a_wrong_target_is_spooled_for_this_database(slack_and_email: Sandbox, monkeypatch, name, value):
    right = "#platform-alerts" if name == "SLACK_DEFAULT_CHANNEL" else "ana@corp.example"
    monkeypatch.setenv(name, value)
    ran = run(*SEND)
    assert (ran.exit_code, ran.stderr.startswith(f"alertctl: {name}: ")) == (0, True)
    monkeypatch.setenv(name, right)
    assert "published 1 event" in run("log").stderr
    assert right in [item["to"] for item in data("log")["items"]]


def test_a_wrong_proxy_is_the_deliverys_error(slack_and_email: Sandbox, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://:secret@:0")
    monkeypatch.setenv("NO_PROXY", "")
    ran = run(*SEND, "--to", "slack:#ops")
    assert (ran.exit_code, "recorded " in ran.stderr, "secret" in ran.stderr) == (0, True, False)
    (item,) = data("log")["items"]
    assert (item["reason"], item["error"]) == ("config", "bad_proxy_url")


@pytest.mark.parametrize(
    "command", ["serve --port 0", "config check", "test slack", "doctor", "send --event safety_rollback --dry-run"]
)
@each("name", ["SMTP_PORT", "RETRY_SCHEDULE", "DATABASE_URL"])
def test_other_commands_still_end_with_2_and_name_the_setting(slack_and_email: Sandbox, monkeypatch, command, name):
    monkeypatch.setenv(name, "nonsense")
    ran = run(*command.split())
    assert ran.exit_code == 2
    assert name in ran.stdout + ran.stderr
