"""A subject's conversation in Slack, with daemons as real processes on both databases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from alertctl.db import Store
from alertctl.outbox import EDIT_GAP
from alertctl.outbox.tables import delivery, thread
from alertctl.publish import publish
from alertctl.sandbox import Sandbox
from tests.support import cli_process
from tests.support.daemon import call, serve, settings
from tests.support.deliveries import publication, row, rows
from tests.support.threads import steps
from tests.support.waiting import wait_until

__all__ = ["call", "serve", "settings"]


def send(call, daemon, event_type: str, **fields: object) -> str:
    """Publish an event at a daemon. Return its id."""
    body = {"event_type": event_type, "to": ["slack:#experiments"], **fields}
    status, receipt = call(daemon, "POST", "events", body)
    assert status == 202, receipt
    return str(receipt["event_id"])


def start(command: list[str], settings: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start a command as a process."""
    environment = {**os.environ, **settings}
    return cli_process.Popen(
        [sys.executable, "-m", "alertctl", *command], env=environment, text=True, stderr=subprocess.DEVNULL, **options
    )


def sent(store: Store, event_id: str) -> bool:
    return bool(row(store, delivery, event_id=event_id).status == "success")


def test_an_experiment_from_start_to_finish_is_one_thread_with_its_root_edited(serve, call, store, sandbox: Sandbox):
    daemon = serve()
    for action in ("started", "paused", "resumed"):
        event_id = send(call, daemon, "experiment_lifecycle", experiment="new-cta", action=action)
        wait_until(lambda event_id=event_id: sent(store, event_id))
    send(call, daemon, "experiment_lifecycle", experiment="new-cta", action="completed", winner="variant-b")
    root, *replies = sandbox.slack.wait_for(4)
    wait_until(lambda: steps(root) == ["Started", "Paused", "Resumed", "Completed: variant-b wins"])
    assert [(reply.thread_ts, reply.broadcast) for reply in replies] == [(root.ts, True)] * 3
    assert len(root.edits) <= 3
    wait_until(lambda: row(store, thread).edit_due_at is None)


def test_a_rollback_joins_the_rollouts_thread_and_is_broadcast(serve, call, store, sandbox: Sandbox):
    daemon = serve()
    flag = {"feature_flag": "checkout-v3", "environment": "production"}
    for to in (10, 25):
        event_id = send(call, daemon, "rollout_advance", to_percentage=to, **flag)
        wait_until(lambda event_id=event_id: sent(store, event_id))
    send(call, daemon, "safety_rollback", metric="error_rate", value=0.07, threshold=0.05, **flag)
    root, step, rollback = sandbox.slack.wait_for(3)
    assert [(reply.thread_ts, reply.broadcast) for reply in (step, rollback)] == [(root.ts, False), (root.ts, True)]
    wait_until(lambda: len(steps(root)) == 3)
    assert root.edits[-1].text.startswith("🚨 Critical: Safety rollback: checkout-v3")


def test_a_root_that_is_deleted_in_between_is_followed_by_a_new_one(serve, call, store, sandbox: Sandbox):
    daemon = serve()
    for number, action in enumerate(("started", "paused", "resumed", "completed")):
        event_id = send(call, daemon, "experiment_lifecycle", experiment="new-cta", action=action)
        wait_until(lambda event_id=event_id: sent(store, event_id))
        if number == 0:
            sandbox.slack.delete_message(sandbox.slack.messages[0])
    _, outside, root, reply = sandbox.slack.messages
    assert [message.thread_ts for message in (outside, root, reply)] == [None, None, root.ts]
    wait_until(lambda: steps(root) == ["Resumed", "Completed"])


def test_two_daemons_with_the_first_events_of_a_subject_send_one_root(serve, store, sandbox: Sandbox, database_url):
    for daemon in (serve(), serve()):
        assert daemon.url
    sandbox.slack.latency = 0.2
    subjects = [f"experiment-{number}" for number in range(5)]

    def publish_one(subject_and_action: tuple[str, str]) -> None:
        subject, action = subject_and_action
        fields = {"experiment": subject, "action": action}
        alert = publication("experiment_lifecycle", fields, to=["slack:#experiments"])
        store.write(lambda connection: publish(connection, alert, datetime.now(UTC)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish_one, [(subject, action) for subject in subjects for action in ("started", "paused")]))
    wait_until(lambda: len(rows(store, delivery, status="success")) == 10)
    by_subject = {
        subject: [message for message in sandbox.slack.messages if subject in message.text] for subject in subjects
    }
    for first, second in by_subject.values():
        assert (first.thread_ts, second.thread_ts) == (None, first.ts)


def test_a_retry_that_arrives_after_completed_does_not_roll_the_state_back(serve, call, store, sandbox: Sandbox):
    daemon = serve(RETRY_SCHEDULE="2s 2s")

    def lifecycle(action: str) -> str:
        return send(call, daemon, "experiment_lifecycle", experiment="new-cta", action=action)

    first = lifecycle("started")
    wait_until(lambda: sent(store, first))
    sandbox.slack.faults.then("http_503")
    late = lifecycle("resumed")
    wait_until(lambda: row(store, delivery, event_id=late).status == "failed")
    lifecycle("completed")
    wait_until(lambda: sent(store, late))
    root, completed, resumed = sandbox.slack.messages
    assert ("completed" in completed.text, "resumed" in resumed.text) == (True, True)
    wait_until(lambda: steps(root) == ["Started", "Resumed", "Completed"])
    assert "completed" in root.edits[-1].text


@pytest.mark.postgres
def test_a_daemon_that_is_killed_between_claim_and_send_of_a_root_leaves_one_thread(
    serve, call, store, sandbox: Sandbox
):
    killed = serve()
    assert killed.url
    sandbox.slack.faults.always("black_hole")
    first = send(call, killed, "experiment_lifecycle", experiment="new-cta", action="started")
    wait_until(lambda: row(store, delivery, event_id=first).status == "sending")
    killed.signal_process(signal.SIGKILL)
    killed.wait_for_exit()
    assert row(store, thread).claimed_until is not None
    sandbox.slack.faults.clear()
    daemon = serve()
    second = send(call, daemon, "experiment_lifecycle", experiment="new-cta", action="paused")
    wait_until(lambda: sent(store, first) and sent(store, second))
    root, reply = sandbox.slack.messages
    assert (root.thread_ts, reply.thread_ts) == (None, root.ts)
    assert row(store, delivery, event_id=first).ambiguous


def test_five_sends_without_a_daemon_edit_the_root_at_most_once_in_five_seconds(settings, store, sandbox: Sandbox):
    processes = []
    for to in (10, 20, 30, 40, 50):
        fields = ("--set", "feature_flag=checkout-v3", "--set", f"to_percentage={to}")
        command = ["send", "--event", "rollout_advance", *fields, "--to", "slack:#experiments"]
        processes.append(start(command, settings))
        wait_until(lambda to=to: len(rows(store, delivery, status="success")) == to / 10)
    assert [process.wait(60) for process in processes] == [0] * 5
    root, *replies = sandbox.slack.messages
    assert [reply.thread_ts for reply in replies] == [root.ts] * 4
    assert steps(root)[-1] == "Rollout to 50%"
    times = [edit.at for edit in root.edits]
    assert 1 <= len(times) <= 4
    assert all(later - earlier >= EDIT_GAP for earlier, later in pairwise(times))
    assert row(store, thread).edit_due_at is None


def test_ctrl_c_ends_a_send_that_waits_for_an_edit_and_the_edit_stays_due(settings, store, sandbox: Sandbox):
    settings["ALERTCTL_DEADLINE"] = "20"
    for action in ("started", "paused", "completed"):
        fields = ("--set", "experiment=new-cta", "--set", f"action={action}")
        command = ["send", "--event", "experiment_lifecycle", *fields, "--to", "slack:#experiments", "-o", "json"]
        process = start(command, settings, stdout=subprocess.PIPE)
        if action != "completed":
            process.communicate(timeout=60)
    printed = "".join(iter(process.stdout.readline, "}\n")) + "}"
    assert json.loads(printed)["deliveries"][0]["status"] == "success"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert row(store, thread).edit_due_at is not None
    assert len(sandbox.slack.edits) == 1


def test_edits_that_get_no_answer_hold_up_no_message(serve, call, store, sandbox: Sandbox):
    daemon = serve()
    sandbox.slack.faults.at("chat.update", "stall")
    for action in ("started", "paused", "resumed", "completed"):
        event_id = send(call, daemon, "experiment_lifecycle", experiment="new-cta", action=action)
        wait_until(lambda event_id=event_id: sent(store, event_id))
    assert len(sandbox.slack.messages) == 4
    assert sandbox.slack.edits == []
