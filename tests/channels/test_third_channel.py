"""A third channel is a file in `channels/`, a registry line and its settings.

A copy of the package gets exactly these, and its command line and daemon are used as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import alertctl
from alertctl.db import Store
from alertctl.users import create_token
from tests.support import cli_process, webhook_channel
from tests.support.deliveries import wall_clock
from tests.support.waiting import wait_until

CHANNEL = Path(webhook_channel.__file__)
REGISTRY_LINE = ("channels/__init__.py", "    EMAIL,\n", "    EMAIL,\n    WEBHOOK,\n")
REGISTRY_IMPORT = (
    "channels/__init__.py",
    "from alertctl.channels.slack import SLACK\n",
    "from alertctl.channels.slack import SLACK\nfrom alertctl.channels.webhook import WEBHOOK\n",
)
SECTION_NAME = ("config/sources.py", 'SECTIONS = ("slack", "email", ', 'SECTIONS = ("slack", "email", "webhook", ')
WEBHOOK_SECTION = """\
class Webhook(_Section):
    enabled: YesOrNo = Field(False, description="Post alerts to a web server: true or false.")
    url: Url = Field("", description="The web server.")


"""
SECTION = ("config/settings.py", "class Sendgrid(_Section):", f"{WEBHOOK_SECTION}class Sendgrid(_Section):")
SECTION_FIELD = (
    "config/settings.py",
    "    email: Email = Field(default_factory=Email)\n",
    "    email: Email = Field(default_factory=Email)\n    webhook: Webhook = Field(default_factory=Webhook)\n",
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a copy of alertctl with the third channel."""
    folder = tmp_path_factory.mktemp("package")
    copy = folder / "alertctl"
    shutil.copytree(Path(alertctl.__file__).parent, copy)
    shutil.copy(CHANNEL, copy / "channels/webhook.py")
    for path, old, new in (REGISTRY_LINE, REGISTRY_IMPORT, SECTION_NAME, SECTION, SECTION_FIELD):
        source = (copy / path).read_text()
        assert source.count(old) == 1
        (copy / path).write_text(source.replace(old, new))
    return folder


@dataclass
class Hooks:
    """A web server that records what is posted to it: path and JSON."""

    received: list[tuple[str, Any]] = field(default_factory=list)
    url: str = ""

    @property
    def addresses(self) -> list[str]:
        return sorted(address for address, _ in self.received)


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    recorder = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            recorder.received.append((self.path.removeprefix("/"), json.loads(body)))
            self.send_response(200)
            self.send_header("X-Message-Id", f"m{len(recorder.received)}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield recorder
        server.shutdown()
        thread.join()


@pytest.fixture
def environ(package: Path, hooks: Hooks, database_url: str) -> dict[str, str]:
    ours = {"WEBHOOK_ENABLED": "true", "WEBHOOK_URL": hooks.url, "DATABASE_URL": database_url}
    return {**os.environ, **ours, "PYTHONPATH": str(package), "COLUMNS": "200"}


Run = Callable[..., str]


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str, exit_code: int = 0) -> str:
        command = [sys.executable, "-m", "alertctl", *arguments]
        done = cli_process.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=environ, cwd=tmp_path
        )
        assert done.returncode == exit_code, done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.postgres
def test_a_third_channel_is_routed_sent_and_logged(run: Run, hooks: Hooks) -> None:
    run("send", "--event", "safety_rollback", "--set", "feature_flag=checkout-v3", "--no-strict")
    assert hooks.addresses == ["everyone"]
    run("send", "--event", "generic_alert", "--title", "Disk full", "--to", "webhook:oncall", "--strict")
    assert hooks.received[1] == ("oncall", {"id": hooks.received[1][1]["id"], "title": "Disk full"})

    page = json.loads(run("log", "--channel", "webhook", "-o", "json"))["items"]
    assert [(item["to"], item["status"], item["provider_id"]) for item in page] == [
        ("oncall", "success", "m2"),
        ("everyone", "success", "m1"),
    ]
    others = json.loads(run("log", "--status", "suppressed", "-o", "json"))["items"]
    assert [(item["channel"], item["error"]) for item in others] == [("slack", "slack_disabled")]
    assert [item["to"] for item in json.loads(run("log", "--to", "webhook:ONCALL", "-o", "json"))["items"]] == [
        "oncall"
    ]

    detail = run("log", "show", page[1]["id"])
    assert "it is a default address" in detail
    assert run("log", "show", page[0]["id"], "--rendered", "text") == "Disk full\n"


def test_a_third_channel_is_previewed_tested_and_checked(run: Run, hooks: Hooks) -> None:
    preview = run("send", "--event", "generic_alert", "--title", "Disk full", "--dry-run")
    assert "webhook everyone (a default address)\n    Disk full" in preview
    assert hooks.received == []
    assert "Test notification sent to everyone" in run("test", "webhook")
    assert hooks.addresses == ["everyone"]
    assert "webhook" in run("status")
    assert "The settings are valid" in run("config", "check")
    assert "not a channel; did you mean webhook?" in run("test", "webhok", exit_code=2)
    assert "(slack:#channel or email:dev@example.com or webhook:team)" in run(
        "send", "--event", "generic_alert", "--title", "x", "--to", "pager:1", exit_code=2
    )


def test_a_third_channel_is_offered_by_the_daemon(
    environ: dict[str, str], hooks: Hooks, store: Store, tmp_path: Path
) -> None:
    _, token = store.write(lambda connection: create_token(connection, "dev@corp.example", "admin", None, wall_clock()))

    def call(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=20) as reply:
            text = reply.read().decode()
            return json.loads(text) if reply.headers["Content-Type"] == "application/json" else text

    command = [sys.executable, "-m", "alertctl", "serve", "--port", "0"]
    with cli_process.Popen(command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            line = next(line for line in daemon.stderr if "serves on" in line)
            base = line.split()[-1]
            api = "/api/v1/notifications"
            event = {"event_type": "generic_alert", "title": "Disk full"}
            call(f"{api}/events", {**event, "to": ["webhook:oncall"]})
            call(f"{api}/events", {**event, "channel": "webhook"})
            wait_until(lambda: hooks.addresses == ["everyone", "oncall"])
            wait_until(lambda: call(f"{api}/delivery-log?channel=webhook&status=success")["total"] == 2)
            count = 'alertctl_deliveries_total{channel="webhook",status="success"} 2.0'
            wait_until(lambda: count in call("/metrics"))
        finally:
            daemon.terminate()
