"""Settings with which `alertctl serve` does not start, its warnings, its wording, and a log that is only JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import cli_process

LONG_SECRET = "x" * 32


def serve_in(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that ends at its start, because its host does not exist."""
    variables = {"HOME": str(folder), "PATH": os.defpath, "JWT_ISSUER": "i", "JWT_AUDIENCE": "a", **environ}
    command = [sys.executable, "-m", "alertctl", "serve", "--host", "no.such.host.invalid", *arguments]
    return cli_process.run(command, env=variables, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("name", "value"), [("JWT_SECRET", "short"), ("JWT_JWKS", "http://idp.example/jwks"), ("JWT_SECRET", "'" * 40)]
)
def test_it_does_not_start_with_keys_that_others_can_guess_or_replace(tmp_path, name, value):
    ran = serve_in(tmp_path, **{name: value})
    assert ran.returncode == 2
    assert [line.split(":")[1].strip() for line in ran.stderr.splitlines()] == [name]
    assert not (tmp_path / ".local").exists()


def test_it_warns_of_tokens_of_any_issuer_and_for_any_audience(tmp_path):
    ran = serve_in(tmp_path, JWT_SECRET=LONG_SECRET, JWT_ISSUER="", JWT_AUDIENCE="")
    warnings = [line.split(": ")[1] for line in ran.stderr.splitlines() if " warning " in line and "JWT_" in line]
    assert warnings == ["JWT_ISSUER", "JWT_AUDIENCE"]


@pytest.mark.parametrize(
    "environ",
    [
        {"JWT_SECRET": LONG_SECRET, "SLACK_ENABLE": "1", "JWT_AUDIENCE": ""},
        {"JWT_SECRET": "short"},
        {"ALERTCTL_PORT": "many", "SLACK_ENABLED": "maybe"},
        {},
        {"DATABASE_URL": "sqlite:////dev/null/x.db"},
    ],
)
def test_a_json_log_is_only_json_whatever_prevents_the_start(tmp_path, environ):
    ran = serve_in(tmp_path, ALERTCTL_LOG_FORMAT="json", ALERTCTL_LOG_LEVEL="error", **environ)
    records = [json.loads(line) for line in ran.stderr.splitlines()]
    assert (bool(ran.returncode), ran.stdout) == (True, "")
    assert "error" in {record["level"] for record in records}


def test_a_log_without_errors_does_not_contain_the_word_error(serve):
    daemon = serve()
    assert daemon.url
    daemon.signal_process(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
    assert any("uvicorn: Started server process" in line for line in daemon.log), daemon.log
    assert not [line for line in daemon.log if "error" in line]


def test_a_json_log_is_only_json_while_the_daemon_runs(serve, call, sandbox):
    daemon = serve(ALERTCTL_LOG_FORMAT="json", ALERTCTL_LOG_LEVEL="warning")
    assert call(daemon, "POST", "events", {"event_type": "generic_alert", "title": "x", "to": ["slack:#x"]})[0] == 202
    assert call(daemon, "GET", "/%0a/nothing")[0] == 404
    messages = [f"alertctl serves on {daemon.url}"]
    daemon.close()
    assert [json.loads(line)["message"] for line in daemon.log][:1] == messages


def test_it_does_not_start_with_a_wrong_route(tmp_path):
    (tmp_path / "alertctl.toml").write_text('[[routes]]\nname = "pay"\nmatch.enviroment = "x"\nto = ["#pay"]\n')
    ran = serve_in(tmp_path)
    assert ran.returncode == 2
    assert "routes.pay.match.enviroment: is not a field of an event type; did you mean environment?" in ran.stderr
    assert not (tmp_path / ".local").exists()


def test_a_delivery_has_the_title_in_the_servers_own_words(serve, call, tmp_path):
    file = tmp_path / "words.toml"
    file.write_text('[messages.generic_alert]\ntitle = "{{ source }}: {{ title }}"\n')
    daemon = serve(ALERTCTL_CONFIG=str(file))
    event = {"event_type": "generic_alert", "title": "Disk full", "source": "db-7", "to": ["slack:#x"]}
    _, receipt = call(daemon, "POST", "events", event)
    _, delivery = call(daemon, "GET", f"delivery-log/{receipt['deliveries'][0]['id']}")
    assert delivery["event"]["title"] == "db-7: Disk full"
