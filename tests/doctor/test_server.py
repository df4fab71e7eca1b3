"""The doctor on a machine whose commands use a server: it checks the server, and opens no database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.db import Store
from alertctl.sandbox import Sandbox
from alertctl.users import create_token
from tests.support.api_server import ApiServer, now, running
from tests.support.cli import run
from tests.support.doctor import Findings, closed_port, outcomes, run_doctor
from tests.support.raw_server import raw_server

CHECKS = ("reachable", "token", "version", "oldest due", "paused providers")


@pytest.fixture
def api(store: Store) -> Iterator[ApiServer]:
    with running(store) as started:
        started.stopping = False
        yield started


def check_server(address: str, token: str, folder: Path, **more: str) -> Findings:
    findings = run_doctor({"ALERTCTL_SERVER": address, "ALERTCTL_TOKEN": token, **more}, folder)
    return {name.removeprefix("server "): finding for name, finding in findings.items()}


def test_only_the_server_is_checked_and_no_database_is_made(api: ApiServer, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    findings = check_server(f"http://127.0.0.1:{api.port}", api.tokens["admin"], folder)
    assert outcomes(findings) == dict.fromkeys(CHECKS, "ok")
    assert findings["token"].what == "admin@corp.example, admin"
    assert findings["reachable"].what == f"http://127.0.0.1:{api.port}"
    assert list(folder.iterdir()) == []


def test_a_channel_that_is_on_here_is_checked_here(api: ApiServer, tmp_path: Path, sandbox: Sandbox) -> None:
    address = f"http://127.0.0.1:{api.port}"
    settings = sandbox.settings() | {"EMAIL_ENABLED": "false"}
    findings = check_server(address, api.tokens["admin"], tmp_path, **settings)
    assert {finding.area for finding in findings.values()} == {"slack", "server"}


@pytest.mark.parametrize(
    ("token", "outcome", "what"),
    [
        ("", "failure", "ALERTCTL_TOKEN is not set"),
        ("actl_unknown", "failure", "the server rejected the token: "),
        ("viewer", "ok", "viewer@corp.example, viewer"),
        ("publish", "ok", "accepted; it may publish events only"),
    ],
)
def test_a_token_that_may_not_read_the_status_leaves_the_rest_unknown(
    api: ApiServer, tmp_path: Path, token: str, outcome: str, what: str
) -> None:
    api.tokens["publish"] = api.store.write(
        lambda it: create_token(it, "ci@corp.example", None, None, now(), scope="publish")
    )[1]
    findings = check_server(f"http://127.0.0.1:{api.port}", api.tokens.get(token, token), tmp_path)
    assert (findings["token"].outcome, findings["token"].what.startswith(what)) == (outcome, True)
    assert {findings[name].outcome for name in CHECKS[2:]} == {"unknown"}


def test_a_server_that_is_not_ready_names_its_failing_part(api: ApiServer, tmp_path: Path) -> None:
    api.parts = {"database": "cannot be reached"}
    finding = check_server(f"http://127.0.0.1:{api.port}", api.tokens["admin"], tmp_path)["reachable"]
    assert (finding.outcome, "is not ready: database: cannot be reached" in finding.what) == ("failure", True)


def test_a_server_that_is_away_is_one_failure(tmp_path: Path) -> None:
    with closed_port() as port:
        findings = check_server(f"http://127.0.0.1:{port}", "actl_x", tmp_path)
    assert outcomes(findings) == {name: "failure" if name == "reachable" else "unknown" for name in CHECKS}
    assert "connection_refused" in findings["reachable"].what


def test_another_program_at_the_address_is_recognized(tmp_path: Path) -> None:
    with raw_server() as other:
        other.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        findings = check_server(f"http://127.0.0.1:{other.port}", "actl_x", tmp_path)
    assert findings["reachable"].outcome == "failure"
    assert "not as alertctl serve does" in findings["reachable"].what


@pytest.mark.parametrize("status", [401, 403])
def test_a_page_of_a_proxy_is_no_answer_to_the_token(tmp_path: Path, status: int) -> None:
    with raw_server() as proxy:
        proxy.reply = b"HTTP/1.1 %d No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno" % status
        findings = check_server(f"http://127.0.0.1:{proxy.port}", "actl_x", tmp_path)
    assert {findings[name].outcome for name in CHECKS[1:]} == {"unknown"}
    assert f"an HTTP {status} that is not from alertctl serve" in findings["token"].what


def test_the_command_checks_the_server_and_says_why_other_areas_are_not_checked(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "ALERTCTL_SERVER is not set" in run("doctor", "server").stderr
    monkeypatch.setenv("ALERTCTL_SERVER", f"http://127.0.0.1:{api.port}")
    monkeypatch.setenv("ALERTCTL_TOKEN", api.tokens["admin"])
    ran = run("doctor", "-o", "json")
    assert ran.exit_code == 0
    assert [(item["area"], item["check"]) for item in json.loads(ran.stdout)["items"]] == [
        ("server", name) for name in CHECKS
    ]
    refused = run("doctor", "db")
    assert (refused.exit_code, "ALERTCTL_SERVER is set" in refused.stderr) == (2, True)
    assert run("--database", str(api.store.url.render_as_string(hide_password=False)), "doctor", "db").exit_code == 0
