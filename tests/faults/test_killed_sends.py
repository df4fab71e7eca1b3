"""`alertctl send` is killed at any moment: an event that it reported as recorded is still delivered."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from alertctl.sandbox import Sandbox
from tests.support import cli_process

SEND = [sys.executable, "-m", "alertctl", "send", "--event", "generic_alert"]


def test_a_killed_send_loses_no_event_that_it_had_reported_as_recorded(settings, sandbox: Sandbox, long: bool) -> None:
    environment = os.environ | settings | {"ALERTCTL_LEASE": "0.5"}
    cli_process.run([*SEND, "--title", "first"], env=environment, check=True, capture_output=True)
    sandbox.slack.latency = 0.2
    reported: set[str] = set()
    for number in range(40 if long else 8):
        sender = cli_process.Popen(
            [*SEND, "--title", f"n{number}", "--to", f"slack:#n{number}"],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert sender.stderr is not None
        if number % 2:
            # At some moment before, while or after it writes; else at some moment behind its word.
            time.sleep(0.3 + 0.05 * (number % 10))
            sender.kill()
        output = sender.stderr.readline()
        time.sleep(0.03 * (number % 10))
        sender.kill()
        sender.communicate()
        if output.startswith("recorded "):
            reported.add(f"#n{number}")
    time.sleep(0.6)
    sandbox.slack.latency = 0
    command = [sys.executable, "-m", "alertctl", "dispatch", "--once"]
    cli_process.run(command, env=environment, check=True, capture_output=True)
    assert reported <= {message.channel for message in sandbox.slack.messages}
    assert reported
