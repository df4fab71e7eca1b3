"""Ana wants her alerts as direct messages. The Slack app lacks the scope for it, and an admin adds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.db import Store
from alertctl.sandbox import Sandbox
from alertctl.sandbox.slack import identifier
from tests.support.machines import Server
from tests.support.waiting import wait_until

ANA = "@ana@corp.example"
ANA_ID = identifier("U", "ana@corp.example")
ROLLBACK = "alertctl send --queue --event safety_rollback --set feature_flag=checkout-v3"


@pytest.fixture
def server(tmp_path: Path, sandbox: Sandbox, store: Store, database_url: str) -> Iterator[Server]:
    machine = Server(tmp_path / "server", sandbox, DATABASE_URL=database_url, EMAIL_ENABLED="false")
    machine.up()
    yield machine
    machine.down()


def typed(server: Server, command: str) -> str:
    """Return what a command prints, as one line."""
    ran = server.sh(command)
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), (ran.stdout, ran.stderr)
    return " ".join(ran.stdout.split())


def test_a_user_gets_direct_messages_once_the_app_may_look_people_up(server: Server, sandbox: Sandbox) -> None:
    sandbox.slack.scopes = ("chat:write", "chat:write.public", "channels:read")
    typed(server, "alertctl user add ana@corp.example")
    assert "warning" in typed(server, "alertctl doctor slack -o json | grep -A1 users:read.email")
    typed(server, "alertctl prefs set slack_channel=@me --user ana@corp.example")
    assert "failure" in typed(server, "alertctl doctor slack -o json | grep -A1 users:read.email")

    typed(server, ROLLBACK)
    assert sandbox.slack.wait_for(1)[0].to == "#platform-alerts", "the channel does not wait for the scope"
    wait_until(lambda: "missing_scope" in typed(server, "alertctl log --status failed"))
    detail = typed(server, f"alertctl log show $(alertctl log --to {ANA} -o id)")
    assert "Add the scope users:read.email" in detail
    assert "is paused" not in typed(server, "alertctl status")

    sandbox.slack.scopes = (*sandbox.slack.scopes, "users:read.email")
    typed(server, "alertctl log retry --error missing_scope")
    wait_until(lambda: ANA in typed(server, "alertctl log --status success -o json"))
    assert [message.to for message in sandbox.slack.messages] == ["#platform-alerts", ANA]
    (item,) = json.loads(server.sh(f"alertctl log --to {ANA} -o json").stdout)["items"]
    assert (item["status"], item["channel"], item["to"]) == ("success", "slack", ANA)
    assert "ana@corp.example wants safety_rollback on Slack" in typed(server, f"alertctl log show {item['id']}")
    assert "ok" in typed(server, "alertctl doctor slack -o json | grep -A1 users:read.email")


ROUTE = """
[[routes]]
name = "payments"
match.feature_flag = "checkout-*"
to = ["slack:#pay-oncall"]
mention = ["ana@corp.example", "S0123456789"]
threads = false
"""


def test_a_route_mentions_people_also_while_slack_answers_no_look_up(
    tmp_path: Path, sandbox: Sandbox, store: Store, database_url: str
) -> None:
    machine = Server(tmp_path / "server", sandbox, DATABASE_URL=database_url, EMAIL_ENABLED="false")
    (machine.home / "alertctl.toml").write_text(ROUTE)
    sandbox.slack.faults.at("users.lookupByEmail", "stall")
    machine.up()
    try:
        typed(machine, ROLLBACK)
        typed(machine, "alertctl send --queue --event generic_alert --title x --to slack:#other")
        messages = {message.to: message.text for message in sandbox.slack.wait_for(2)}
        assert messages["#pay-oncall"].endswith("\nana@corp.example <!subteam^S0123456789>")
        wait_until(lambda: "#pay-oncall" in typed(machine, "alertctl log --status success -o json"))
        detail = typed(machine, "alertctl log show $(alertctl log --to '#pay-oncall' -o id)")
        assert "note: could not look up ana@corp.example: timeout" in detail

        machine.down()
        sandbox.slack.faults.clear()
        machine.up()
        typed(machine, ROLLBACK)
        assert sandbox.slack.wait_for(3)[2].text.endswith(f"\n<@{ANA_ID}> <!subteam^S0123456789>")
    finally:
        machine.down()
