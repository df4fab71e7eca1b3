"""`alertctl status`, and its exit code for monitoring."""

from __future__ import annotations

import time

import pytest

from tests.support.cli import data, run

ALERT = ("send", "--event", "generic_alert", "--title", "disk full", "--queue")


@pytest.mark.postgres
def test_a_delivery_that_waits_too_long_ends_with_10(log_on, slack_and_email):
    assert run("status", "--fail-if-waiting", "0s").exit_code == 0
    run(*ALERT, "--to", "slack:#ops")
    time.sleep(0.01)
    assert run("status", "--fail-if-waiting", "5m").exit_code == 0
    waiting = run("status", "--fail-if-waiting", "1ms")
    assert (waiting.exit_code, waiting.stderr.splitlines()[-1][:20]) == (10, "a delivery waits for")
    assert data("status")["oldest_waiting_seconds"] > 0
    run("dispatch", "--once")
    assert run("status", "--fail-if-waiting", "1ms").exit_code == 0


def test_a_wrong_duration_ends_with_2():
    assert run("status", "--fail-if-waiting", "soon").exit_code == 2


@pytest.mark.postgres
def test_deliveries_on_a_channel_that_was_switched_off_are_named(log_on, slack_and_email, monkeypatch):
    run(*ALERT, "--to", "slack:#ops")
    assert "is off" not in run("status").stderr
    monkeypatch.setenv("SLACK_ENABLED", "false")
    warning = "alertctl: warning: slack is off and 1 delivery waits: set SLACK_ENABLED to true to send\n"
    assert warning in run("status").stderr
    dispatched = run("dispatch", "--once")
    assert (dispatched.exit_code, dispatched.stdout) == (0, "0 attempted: 0 success, 0 to be retried, 0 failed\n")
    assert warning in dispatched.stderr


@pytest.mark.postgres
def test_a_delivery_of_a_channel_that_a_newer_version_added_fails_nothing(log_on, slack_and_email, store):
    run(*ALERT, "--to", "slack:#ops")
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE delivery SET channel = 'teams'")
    shown, dispatched = run("status"), run("dispatch", "--once")
    assert (shown.exit_code, dispatched.exit_code) == (0, 0)
    assert "teams 1" in shown.stdout
    delivery_id = data("log")["items"][0]["id"]
    detail = run("log", "show", delivery_id)
    assert (detail.exit_code, detail.stdout.splitlines()[0]) == (0, "pending  teams #ops")
    message = run("log", "show", delivery_id, "--rendered", "text")
    assert (message.exit_code, message.stderr) == (
        2,
        f"alertctl: delivery {delivery_id}: this version can't render messages for teams; use a newer one\n",
    )
