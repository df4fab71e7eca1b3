"""`send` to a mail server that takes long for its final answer: a notice, and Ctrl-C that loses nothing."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Any

import pytest

from alertctl.sandbox import Sandbox
from tests.support.cli import data, dispatched, run, start
from tests.support.waiting import wait_until

SEND = ("send", "--event", "generic_alert", "--title", "disk full", "--to", "email:dev@corp.example")


@pytest.fixture
def slow(log_on: str, slack_and_email: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A mail server that answers a complete message after 8 s; deliveries have a short lease."""
    slack_and_email.smtp.faults.then("slow_dot:8")
    monkeypatch.setenv("ALERTCTL_DEADLINE", "1")
    monkeypatch.setenv("ALERTCTL_LEASE", "2")
    return slack_and_email


def read_until(stream: Any, pattern: str) -> list[str]:
    """Return the lines up to the first one that matches."""
    lines = []
    for line in stream:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError(lines)


def delivery() -> dict[str, Any]:
    (item,) = data("log")["items"]
    return dict(item)


def interrupted_while_waiting() -> tuple[subprocess.Popen[str], str]:
    """Start a `send`, interrupt it after its notice, and return it with its stderr."""
    sending = start(*SEND)
    lines = read_until(sending.stderr, "still waiting")
    sending.send_signal(signal.SIGINT)
    _, rest = sending.communicate(timeout=30)
    return sending, "".join(lines) + rest


def test_send_says_once_that_it_is_still_waiting_and_then_reports_the_success(slow: Sandbox) -> None:
    sending = start(*SEND)
    stdout, stderr = sending.communicate(timeout=60)
    assert (sending.returncode, "success" in stdout) == (0, True)
    assert [line.partition(" (")[0] for line in stderr.splitlines()][1:] == ["still waiting"]
    assert "Ctrl-C is safe" in stderr
    assert (delivery()["attempts"], len(slow.smtp.messages)) == (1, 1)


def test_a_quick_send_does_not_mention_waiting(log_on: str, slack_and_email: Sandbox) -> None:
    assert "waiting" not in run(*SEND).stderr


def test_ctrl_c_leaves_the_delivery_to_its_lease_and_the_next_dispatch_sends_it(slow: Sandbox) -> None:
    sending, stderr = interrupted_while_waiting()
    assert (sending.returncode, "Traceback" in stderr) == (130, False)
    interrupted = delivery()
    assert (interrupted["status"], interrupted["attempts"], interrupted["error"]) == ("sending", 1, None)
    assert interrupted["next_attempt_at"] is not None
    assert dispatched()["success"] == 1
    sent = delivery()
    assert (sent["status"], sent["attempts"], sent["ambiguous"]) == ("success", 2, True)
    attempts = data("log", "show", sent["id"])["attempt_log"]
    assert [(attempt["number"], attempt["code"]) for attempt in attempts] == [(1, "interrupted"), (2, None)]
    wait_until(lambda: len(slow.smtp.messages) == 2)
