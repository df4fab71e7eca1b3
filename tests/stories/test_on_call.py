"""3 am: the Slack token was revoked. Failed deliveries are found, explained and resent, locally and on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alertctl.client.remote import RemoteClient
from alertctl.client.server_config import ServerConfig as Address
from alertctl.sandbox import Sandbox
from alertctl.schemas import DeliveryItem, LogFilter, PublishRequest
from tests.support.clients import token_for
from tests.support.machines import TIMEOUT, Machine, Server
from tests.support.waiting import wait_until

ALERTS = 30
NEW_TOKEN = "xoxb-a-new-one"


@pytest.fixture
def server(tmp_path: Path, sandbox: Sandbox) -> Iterator[Server]:
    database = f"sqlite:///{tmp_path / 'alertctl.db'}"
    machine = Server(tmp_path / "server", sandbox, DATABASE_URL=database, EMAIL_ENABLED="false", USER="grace")
    machine.up()
    yield machine
    machine.down()


def admin_token(server: Server) -> str:
    return token_for(server.settings["DATABASE_URL"], "admin@corp.example", "admin")


@pytest.fixture(params=["on the server", "from afar"])
def shell(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Machine:
    """Return where the person on call types: on the server itself, or at home with an address and a token."""
    if request.param == "on the server":
        return server
    return Machine(tmp_path / "home", {"ALERTCTL_SERVER": server.address, "ALERTCTL_TOKEN": admin_token(server)})


@pytest.fixture
def service(server: Server) -> Iterator[RemoteClient]:
    """Yield a client of the server, as a platform service and to read the log."""
    with RemoteClient(Address(server.address, admin_token(server), timeout=TIMEOUT)) as client:
        yield client


def alert(service: RemoteClient, titles: list[str]) -> None:
    """Publish an event for each, one call after the other."""
    for title in titles:
        service.publish(PublishRequest(event_type="generic_alert", fields={"title": title}, to=[]))


def typed(shell: Machine, command: str, code: int = 0) -> str:
    """Return what a command prints on a terminal of 80 columns."""
    ran = shell.sh(command)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), (ran.stdout, ran.stderr)
    if command.startswith("alertctl log") and " -o " not in command:
        assert max(map(len, ran.stdout.splitlines()), default=0) <= 80, ran.stdout
    return ran.stdout


def deliveries(service: RemoteClient, **where: Any) -> list[DeliveryItem]:
    return service.log(LogFilter(**where), limit=100).items


def test_a_revoked_token_is_diagnosed_and_replaced_and_the_waiting_deliveries_are_sent(
    server: Server, shell: Machine, sandbox: Sandbox, service: RemoteClient
) -> None:
    alert(service, ["all is well"])
    wait_until(lambda: len(sandbox.slack.messages) == 1)
    sandbox.slack.auth_error = "token_revoked"
    titles = [f"alert {number}" for number in range(ALERTS)]
    alert(service, titles)
    wait_until(lambda: service.status().paused)
    assert deliveries(service, status="failed", final=True) == []

    # What is wrong?
    listed = typed(shell, "alertctl log --status failed --since 2h").splitlines()
    assert {line.split()[3] for line in listed[1:]} == {"token_revoked"}
    last = listed[1].split()[0]
    shown = " ".join(typed(shell, f"alertctl log show {last}").split())
    assert "error token_revoked: the token was revoked do Install the app to the workspace again" in shown
    assert "next as soon as a process runs whose settings and credentials work" in shown
    assert "paused slack: token_revoked" in " ".join(typed(shell, "alertctl status").split())
    report = " ".join(typed(server, "alertctl doctor slack", code=10).split())
    assert "token_revoked" in report
    assert "Fix: Install the app to the workspace again" in report

    # Mended: a new token, and the daemon is started again with it.
    sandbox.slack.auth_error, sandbox.slack.token = None, NEW_TOKEN
    server.down()
    server.settings["SLACK_BOT_TOKEN"] = NEW_TOKEN
    server.up()
    wait_until(lambda: len(deliveries(service, status="success")) == ALERTS + 1)
    typed(shell, "alertctl log --status failed --fail-if-any")
    assert sorted(titles_of(sandbox)) == sorted(["all is well", *titles]), "each arrived, and once"
    assert "paused nothing" in " ".join(typed(shell, "alertctl status").split())
    shown = " ".join(typed(shell, f"alertctl log show {last}").split())
    assert shown.startswith("success slack #platform-alerts")


def titles_of(sandbox: Sandbox) -> list[str]:
    return [str(message.blocks[0]["text"]["text"]).split(" ", 1)[-1] for message in sandbox.slack.messages]
