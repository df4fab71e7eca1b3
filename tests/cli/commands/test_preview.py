"""`alertctl preview`, and messages in the operator's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertctl.events import BY_NAME
from tests.support.cli import data, run

WORDS = """
[messages.generic_alert]
title = "{{ labels.team }}{{ source }}: {{ title }}"
summary = "{{ 1 / 0 }}"
"""


@pytest.fixture
def own_words(tmp_path: Path) -> None:
    (tmp_path / "alertctl.toml").write_text(WORDS)


@pytest.mark.usefixtures("no_database")
@pytest.mark.parametrize("event_type", BY_NAME)
def test_every_type_is_shown_with_its_example_and_without_a_database(event_type, tmp_path):
    shown = run("preview", "--event", event_type)
    assert (shown.exit_code, shown.stderr) == (0, "")
    content = BY_NAME[event_type].model_validate(BY_NAME[event_type].example)
    assert shown.stdout.count(content.headline()) >= 2
    assert "Slack  #platform-alerts" in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_fields_and_one_channel_can_be_named():
    (message,) = data("preview", "--event", "generic_alert", "--title", "Disk full", "--channel", "email")["items"]
    assert message["channel"] == "email"
    assert "Disk full" in message["message"]["headers"]["Subject"]
    assert "Disk almost full" not in message["message"]["text"]


def test_style_and_sender_are_those_of_the_settings(monkeypatch):
    monkeypatch.setenv("SLACK_STYLE", "compact")
    monkeypatch.setenv("EMAIL_FROM_ADDRESS", "alerts@corp.example")
    compact = run("preview", "--event", "safety_rollback").stdout
    assert "Critical · safety_rollback" not in compact
    assert "From     alertctl <alerts@corp.example>" in compact
    assert "Critical · safety_rollback" in run("preview", "--event", "safety_rollback", "--style", "full").stdout


def test_a_long_email_is_shown_to_its_last_line():
    details = [f"--set=details.step{number}={number}" for number in range(1, 26)]
    shown = run("preview", "--event", "generic_alert", "--channel", "email", *details).stdout
    assert "step25: 25" in shown
    assert "You receive this because" in shown


@pytest.mark.usefixtures("own_words")
def test_own_words_are_shown_and_a_template_that_fails_is_a_warning():
    shown = run("preview", "--event", "generic_alert")
    assert "db-7: Disk almost full" in shown.stdout
    assert "91 % of /var is used." in shown.stdout
    assert "[messages.generic_alert] summary: division by zero; the built-in text is used" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--event", "safety_rolback"), "did you mean safety_rollback?"),
        (("--event", "generic_alert", "--style", "compakt"), "style: 'compakt' is not a style; did you mean compact?"),
        (("--event", "generic_alert", "--channel", "pager"), "'--channel': 'pager' is not a channel"),
        (("--event", "generic_alert", "--label", "my team=x"), "labels: 'my team' is not a label name"),
    ],
)
def test_wrong_input_is_one_line(arguments, words):
    refused = run("preview", *arguments)
    assert refused.exit_code == 2
    assert words in " ".join(refused.stderr.split())


@pytest.mark.usefixtures("own_words", "slack_and_email", "log_on")
def test_a_sent_message_has_the_own_words_and_its_attempt_a_note(slack_and_email):
    sent = data("send", "--event", "generic_alert", "--title", "Full", "--set", "source=db-7", "--to", "slack:#ops")
    (message,) = slack_and_email.slack.messages
    assert "db-7: Full" in message.text
    (attempt,) = data("log", "show", sent["deliveries"][0]["id"])["attempt_log"]
    assert attempt["note"] == "[messages.generic_alert] summary: division by zero; the built-in text is used"


@pytest.mark.usefixtures("own_words", "slack_and_email")
def test_a_dry_run_and_the_log_show_the_own_words():
    event = ("--event", "generic_alert", "--title", "Full", "--set", "source=db-7", "--to", "slack:#ops")
    assert "db-7: Full" in run("send", *event, "--dry-run").stdout
    delivery = data("send", *event)["deliveries"][0]["id"]
    assert "db-7: Full" in run("log", "show", delivery, "--rendered", "text").stdout
    assert "db-7: Full" in run("log", "show", delivery).stdout


@pytest.mark.usefixtures("own_words")
def test_config_check_names_the_template():
    checked = run("config", "check")
    assert checked.exit_code == 2
    assert "[messages.generic_alert]" in checked.stdout
    assert "division by zero" in " ".join(checked.stdout.split())


def test_config_check_renders_the_email_templates_with_every_type(tmp_path, monkeypatch):
    (tmp_path / "mail").mkdir()
    monkeypatch.setenv("ALERTCTL_TEMPLATES", "mail")
    (tmp_path / "mail/alert.html").write_text("{{ title }} {{ event.value / event.threshold }} {{ reason }}")
    checked = run("config", "check")
    assert checked.exit_code == 2
    assert "ALERTCTL_TEMPLATES" in checked.stdout
    (tmp_path / "mail/alert.html").write_text("{{ title }} {{ event.value }} {{ reason }}")
    assert "ALERTCTL_TEMPLATES" not in run("config", "check").stdout
