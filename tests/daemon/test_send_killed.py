"""`alertctl send` may be killed at any moment: what it had reported as recorded is delivered all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from alertctl.sandbox import Sandbox

SEND = [sys.executable, "-m", "alertctl", "send", "--event", "generic_alert"]


def test_a_killed_send_loses_no_event_that_it_had_reported_as_recorded(settings, sandbox: Sandbox, long: bool) -> None:
    environment = os.environ | settings | {"ALERTCTL_LEASE": "0.5"}
    subprocess.run([*SEND, "--title", "first"], env=environment, check=True, capture_output=True)
    sandbox.slack.latency = 0.2
    reported: set[str] = set()
    for number in range(40 if long else 8):
        sender = subprocess.Popen(
            [*SEND, "--title", f"n{number}", "--to", f"slack:#n{number}"],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        # From before anything is written to well behind the answer.
        time.sleep(0.45 + 0.03 * (number % 10))
        sender.kill()
        if "recorded " in sender.communicate()[1]:
            reported.add(f"#n{number}")
    time.sleep(0.6)
    sandbox.slack.latency = 0
    command = [sys.executable, "-m", "alertctl", "dispatch", "--once"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert reported <= {message.channel for message in sandbox.slack.messages}
    assert reported
