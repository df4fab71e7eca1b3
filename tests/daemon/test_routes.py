"""Routes in a running daemon, and the warning about daemons that run with different ones."""

from __future__ import annotations

import signal

from tests.support.cli import run
from tests.support.waiting import wait_until


def test_status_warns_while_two_daemons_run_with_different_routes(serve, call, settings, monkeypatch, tmp_path):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    daemons = []
    for address in ("#first", "#second"):
        path = tmp_path / f"{address[1:]}.toml"
        path.write_text(f'[[routes]]\nname = "all"\nto = ["{address}"]\n')
        daemons.append(serve(ALERTCTL_CONFIG=str(path)))
        status, event = call(daemons[-1], "POST", "events", {"event_type": "generic_alert", "title": "x"})
        assert (status, [item["to"] for item in event["deliveries"]]) == (202, [address])
    first, second = daemons
    warnings = wait_until(lambda: call(first, "GET", "status")[1]["warnings"])
    assert "daemons run with different routes" in warnings[0]
    assert f"pid {first.process.pid}" in warnings[0]
    assert f"alertctl: warning: {warnings[0]}" in run("status").stderr
    second.signal_process(signal.SIGTERM)
    assert second.wait_for_exit() == 0
    state = call(first, "GET", "status")[1]
    assert ([item["pid"] for item in state["instances"]], state["warnings"]) == ([first.process.pid], [])
