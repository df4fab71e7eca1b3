"""Wrong credentials in one process: no alert is lost, and processes with good ones are not held up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from sqlalchemy import select

from alertctl.outbox.tables import delivery
from tests.support import cli_process
from tests.support.daemon import BASE
from tests.support.waiting import wait_until

WRONG = {"SLACK_BOT_TOKEN": "xoxb-wrong", "EMAIL_ENABLED": "false"}


def command(settings, *arguments, **environment):
    """Run `alertctl` to its end; returns its exit code and output."""
    process = cli_process.Popen(
        [sys.executable, "-m", "alertctl", *arguments],
        env={**os.environ, **settings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout + stderr


def publish(call, daemon, count, event_type="safety_rollback", prefix="alert"):
    for number in range(count):
        fields = {"feature_flag": "checkout-v3"} if event_type == "safety_rollback" else {"title": "Deployed"}
        body = {"event_type": event_type, **fields, "to": [f"slack:#{prefix}-{number}"]}
        status, _ = call(daemon, "POST", "events", body)
        assert status == 202


# The daemon may alert its admins by email meanwhile.
ON_SLACK = delivery.c.channel == "slack"


def statuses(store):
    with store.reading() as connection:
        return Counter(connection.execute(select(delivery.c.status).where(ON_SLACK)).scalars())


def waits(store):
    """Seconds from being queued to the result, of each delivery."""
    with store.reading() as connection:
        rows = connection.execute(select(delivery.c.queued_at, delivery.c.updated_at).where(ON_SLACK)).all()
    return [(row.updated_at - row.queued_at).total_seconds() for row in rows]


@pytest.mark.postgres
def test_two_daemons_one_with_a_wrong_token_deliver_every_critical_alert(serve, call, store, sandbox, record_property):
    good, bad = serve(), serve(**WRONG)
    publish(call, bad, 20, prefix="through-the-bad")
    publish(call, good, 20, prefix="through-the-good")
    wait_until(lambda: statuses(store) == {"success": 40})
    assert len({message.channel for message in sandbox.slack.messages}) == len(sandbox.slack.messages) == 40
    record_property("longest wait (s)", max(waits(store)))


def test_a_test_with_a_wrong_token_changes_nothing_for_a_daemon(serve, call, store, settings, sandbox):
    daemon = serve()
    for _ in range(2):
        calls = len(sandbox.slack.calls)
        code, output = command(settings, "test", "slack", **WRONG)
        assert (code, "invalid_auth" in output) == (3, True), output
        assert len(sandbox.slack.calls) == calls + 1, "each test calls the provider"
    publish(call, daemon, 1)
    wait_until(lambda: [message.channel for message in sandbox.slack.messages] == ["#alert-0"])


def test_one_daemon_with_a_wrong_token_keeps_what_is_published_until_the_token_is_good(
    serve, call, store, settings, sandbox
):
    bad = serve(**WRONG)
    publish(call, bad, 5, event_type="generic_alert", prefix="normal")
    publish(call, bad, 5, prefix="critical")
    wait_until(lambda: call(bad, "GET", "status")[1]["paused"])
    (pause,) = call(bad, "GET", "status")[1]["paused"]
    assert (pause["provider"], pause["code"], pause["pid"]) == ("slack", "invalid_auth", bad.process.pid)
    metrics = call(bad, "GET", "/metrics")[1]
    wait_until(lambda: "slack is paused (invalid_auth). Its deliveries wait; run alertctl doctor." in "".join(bad.log))
    assert f'alertctl_breaker_open{{code="invalid_auth",host="{pause["host"]}",pid="{bad.process.pid}"' in metrics
    _, output = command(settings, "doctor", "db")
    assert "slack is paused in the daemon" in " ".join(output.split())
    assert f"(pid {bad.process.pid})" in " ".join(output.split())
    assert "failed" not in {item["status"] for item in _final(call, bad)}
    bad.process.terminate()
    assert bad.wait_for_exit() == 0
    serve(ALERTCTL_SENDERS="1")
    wait_until(lambda: statuses(store) == {"success": 10})
    order = [message.channel.split("-")[0] for message in sandbox.slack.messages]
    # The last critical ones may still be in flight, on threads of their own, when the first normal one is sent.
    assert set(order[:3]) == {"#critical"}


def _final(call, daemon):
    return call(daemon, "GET", f"{BASE}/delivery-log?final=true")[1]["items"]


def test_a_successful_test_on_the_command_line_lets_the_daemon_probe_at_once(serve, call, store, settings, sandbox):
    sandbox.slack.auth_error = "token_revoked"
    daemon = serve()
    publish(call, daemon, 3)
    wait_until(lambda: call(daemon, "GET", "status")[1]["paused"])
    sandbox.slack.auth_error = None
    assert command(settings, "test", "slack")[0] == 0
    wait_until(lambda: statuses(store) == {"success": 4})
    assert call(daemon, "GET", "status")[1]["paused"] == []
