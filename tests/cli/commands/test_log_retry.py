"""`alertctl log retry` with the log's own filters."""

from __future__ import annotations

import pytest

from alertctl.sandbox import Sandbox
from tests.support.cli import data, run

ALERT = ("send", "--event", "generic_alert", "--title", "disk full")


@pytest.fixture
def refused(log_on: str, slack_and_email: Sandbox) -> Sandbox:
    """Send three deliveries that fail for a revoked token, one that fails otherwise, and one that arrives."""
    slack_and_email.slack.auth_error = None
    run(*ALERT, "--to", "slack:#fine")
    run(*ALERT, "--to", "slack:#missing")
    slack_and_email.slack.auth_error = "token_revoked"
    for name in ("#a", "#b", "#c"):
        run(*ALERT, "--to", f"slack:{name}")
    slack_and_email.slack.auth_error = None
    return slack_and_email


@pytest.mark.postgres
def test_a_repaired_token_is_followed_by_one_command_that_sends_them_all(refused: Sandbox) -> None:
    result = data("log", "retry", "--status", "failed", "--error", "token_revoked")
    assert {(item["to"], item["status"]) for item in result["items"]} == {
        (name, "success") for name in ("#a", "#b", "#c")
    }
    assert [message.channel for message in refused.slack.messages].count("#fine") == 1
    assert [item["to"] for item in data("log", "--status", "failed")["items"]] == ["#missing"]


def test_a_dry_run_shows_and_changes_nothing(refused: Sandbox) -> None:
    calls = len(refused.slack.calls)
    result = data("log", "retry", "--error", "token_revoked", "--dry-run")
    assert [item["to"] for item in result["items"]] == ["#c", "#b", "#a"]
    (first, *_) = (item["id"] for item in result["items"])
    assert len(data("log", "retry", first, first[-8:], "--dry-run")["items"]) == 1, "the same one twice"
    assert len(refused.slack.calls) == calls
    assert len(data("log", "--status", "failed")["items"]) == 4


def test_a_dry_run_leaves_out_what_has_arrived_as_the_real_run_does(refused: Sandbox) -> None:
    command = ("log", "retry", "--to", "#fine", "--dry-run")
    (not_sent,) = data(*command)["not_sent"]
    assert not_sent["problem"] == "it has arrived already"
    assert data(*command)["items"] == []
    warning = f"alertctl: warning: {not_sent['id'][-8:]} is not resent: it has arrived already\n"
    assert run(*command).stderr == f"{warning}nothing would be resent\n"
    assert len(data(*command, "--again")["items"]) == 1


def test_max_takes_the_newest(refused: Sandbox) -> None:
    assert [item["to"] for item in data("log", "retry", "--status", "failed", "--max", "1")["items"]] == ["#c"]


def test_a_named_error_means_all_that_failed_of_it_and_any_other_filter_the_newest_hundred() -> None:
    everybody = [word for number in range(101) for word in ("--to", f"slack:#c{number}")]
    run(*ALERT, *everybody)
    assert len(data("log", "retry", "--error", "slack_disabled", "--dry-run")["items"]) == 101
    assert len(data("log", "retry", "--status", "suppressed", "--dry-run")["items"]) == 100


def test_arrived_deliveries_are_skipped_with_the_reason(refused: Sandbox) -> None:
    result = data("log", "retry", "--status", "success")
    assert result["items"] == []
    assert [item["problem"] for item in result["not_sent"]] == ["it has arrived already"]


def test_deliveries_to_a_disabled_channel_are_skipped(refused: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_ENABLED", "false")
    result = data("log", "retry", "--error", "token_revoked")
    assert {item["problem"] for item in result["not_sent"]} == {"slack is switched off (SLACK_ENABLED)"}


@pytest.mark.parametrize("arguments", [(), ("abc", "--status", "failed")])
def test_ids_or_filters_but_one_of_the_two(arguments: tuple[str, ...]) -> None:
    ran = run("log", "retry", *arguments)
    assert ran.exit_code == 2
    assert "give either delivery ids or filters" in ran.stderr


def test_with_strict_a_resend_that_fails_again_ends_with_3(log_on: str, slack_and_email: Sandbox) -> None:
    run(*ALERT, "--to", "slack:#missing")
    (item,) = data("log")["items"]
    assert run("log", "retry", item["id"]).exit_code == 0
    assert run("log", "retry", item["id"], "--strict", "--dry-run").exit_code == 0
    assert run("log", "retry", item["id"], "--strict").exit_code == 3
    run(*ALERT, "--to", "slack:#ops", "--queue")
    (queued, _) = data("log")["items"]
    assert run("log", "retry", queued["id"], "--strict").exit_code == 0


def test_an_address_that_is_no_longer_allowed_is_not_resent(refused: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTCTL_ALLOWED_SLACK_CHANNELS", "#a,#b")
    ran = run("log", "retry", "--error", "token_revoked")
    assert "'#c' is not an allowed recipient (ALERTCTL_ALLOWED_SLACK_CHANNELS: a, b)" in ran.stderr
    assert sorted(message.channel for message in refused.slack.messages) == ["#a", "#b", "#fine"]
