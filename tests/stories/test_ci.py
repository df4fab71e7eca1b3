"""A CI job under `set -eu`, with neither the database nor Slack's token: one message, exit code 0, and a receipt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alertctl.sandbox import Sandbox
from tests.support.machines import Machine, Server
from tests.support.waiting import wait_until

STEP = """
alertctl send --event safety_rollback --set feature_flag=checkout-v3 --set actor="" \
    --idempotency-key "$CI_JOB_ID" --expires 2h --receipt receipt.json
echo the pipeline goes on
"""


@pytest.fixture
def server(tmp_path: Path, sandbox: Sandbox):
    machine = Server(tmp_path / "server", sandbox, EMAIL_ENABLED="false")
    machine.up()
    yield machine
    machine.down()


@pytest.fixture
def runner(tmp_path: Path, server: Server) -> Machine:
    """Return the CI's machine, with an address and a token."""
    return Machine(
        tmp_path / "runner",
        {"ALERTCTL_SERVER": server.address, "ALERTCTL_TOKEN": server.token("developer"), "ALERTCTL_TIMEOUT": "2s"},
    )


def step(runner: Machine, job: str) -> tuple[str, dict[str, Any]]:
    """Run the job, which must succeed. Returns its stderr and its receipt."""
    ran = runner.sh(STEP, CI_JOB_ID=job)
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "the pipeline goes on"), ran.stderr
    return ran.stderr, json.loads((runner.home / "receipt.json").read_text())


def alerts(sandbox: Sandbox) -> int:
    return len(sandbox.slack.messages)


def test_all_is_well_and_the_job_is_run_again(server, runner, sandbox: Sandbox):
    _, first = step(runner, "job-1")
    assert (first["outcome"], first["created"]) == ("recorded", True)
    (delivery,) = (item for item in first["deliveries"] if item["channel"] == "slack")
    (message,) = sandbox.slack.messages
    assert (delivery["to"], delivery["status"], delivery["provider_id"]) == ("#platform-alerts", "success", message.ts)
    stderr, again = step(runner, "job-1")
    assert (again["outcome"], again["event_id"]) == ("repeated", first["event_id"])
    assert "nothing is sent twice" in stderr
    assert alerts(sandbox) == 1


def test_slack_is_down_and_comes_back(server, runner, sandbox: Sandbox):
    sandbox.slack.faults.always("http_503")
    stderr, receipt = step(runner, "job-2")
    assert (receipt["outcome"], receipt["deliveries"][0]["status"]) == ("recorded", "failed")
    assert "it will be retried" in stderr
    sandbox.slack.faults.clear()
    wait_until(lambda: alerts(sandbox) == 1)
    _, later = step(runner, "job-2")
    assert (later["deliveries"][0]["status"], alerts(sandbox)) == ("success", 1)


def test_the_server_is_down_the_job_runs_twice_and_one_message_comes_in_the_end(server, runner, sandbox: Sandbox):
    server.down()
    for _ in range(2):
        stderr, receipt = step(runner, "job-3")
        assert (receipt["outcome"], receipt["spooled"], receipt["event_id"]) == ("spooled", True, None)
        assert "spooled as " in stderr
    assert runner.sh(STEP.replace("send", "send --strict"), CI_JOB_ID="job-3").returncode == 5
    server.up()
    looked = runner.sh("alertctl status")
    assert (looked.returncode, "published 3 events from the spool" in looked.stderr) == (0, True), looked.stderr
    wait_until(lambda: alerts(sandbox) == 1)
    _, receipt = step(runner, "job-3")
    assert (receipt["outcome"], alerts(sandbox)) == ("repeated", 1)
    assert json.loads(runner.sh("alertctl spool list -o json").stdout)["items"] == []


def test_a_job_that_waits_knows_the_end(server, runner, sandbox: Sandbox):
    sandbox.slack.faults.then("http_503", "http_503")
    ran = runner.sh(STEP.replace("send", "send --wait=30s --strict"), CI_JOB_ID="job-4")
    receipt = json.loads((runner.home / "receipt.json").read_text())
    assert (ran.returncode, receipt["deliveries"][0]["status"]) == (0, "success"), ran.stderr
    assert (receipt["deliveries"][0]["attempts"], alerts(sandbox)) == (3, 1)
