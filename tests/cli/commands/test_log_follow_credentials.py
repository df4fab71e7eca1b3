"""`log -f` goes on with a token or a database password that changed in its file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from alertctl import users
from alertctl.db import Store
from alertctl.sandbox import Sandbox
from tests.support.cli import run
from tests.support.clients import now, token_for
from tests.support.log_follower import followers
from tests.support.machines import Server
from tests.support.waiting import wait_until


@pytest.fixture
def follow() -> Iterator[Any]:
    with followers() as start:
        yield start


def send_alert(title: str, to: str) -> None:
    assert run("send", "--event", "generic_alert", "--title", title, "--to", to).exit_code == 0


@pytest.fixture
def server(log_on: str, tmp_path: Path, sandbox: Sandbox) -> Iterator[Server]:
    machine = Server(tmp_path / "server", sandbox, DATABASE_URL=log_on)
    machine.up()
    yield machine
    machine.down()


def revoke(url: str, secret: str) -> None:
    store = Store(url)
    store.write(lambda it: users.revoke_token(it, users.verify(it, secret, now()).token_id, now()))
    store.close()


def test_a_follower_whose_token_is_revoked_goes_on_with_the_new_one_in_its_file(
    log_on: str, server: Server, slack_and_email: Sandbox, follow: Any, tmp_path: Path
) -> None:
    old, new = (token_for(log_on, "admin@corp.example", "admin") for _ in range(2))
    file = tmp_path / "token"
    file.write_text(old)
    environ = os.environ | {"ALERTCTL_SERVER": server.address, "ALERTCTL_TOKEN_FILE": str(file)}
    follower = follow(environ, "--since", "1h", "-o", "jsonl")
    send_alert("first", "slack:#first")
    follower.wait_for("#first", "success")
    file.write_text(f"{new}\n")
    revoke(log_on, old)
    server.down()
    server.up()
    send_alert("second", "slack:#second")
    follower.wait_for("#second", "success")
    code, stderr = follower.ctrl_c()
    assert (code, "Traceback" in stderr) == (130, False)


def test_a_follower_whose_token_is_revoked_and_not_replaced_ends_with_the_refusal(
    log_on: str, server: Server, slack_and_email: Sandbox, follow: Any, tmp_path: Path
) -> None:
    token = token_for(log_on, "admin@corp.example", "admin")
    file = tmp_path / "token"
    file.write_text(token)
    environ = os.environ | {"ALERTCTL_SERVER": server.address, "ALERTCTL_TOKEN_FILE": str(file)}
    follower = follow(environ, "--since", "1h", "-o", "jsonl")
    send_alert("first", "slack:#first")
    follower.wait_for("#first", "success")
    revoke(log_on, token)
    assert follower.process.wait(60) == 4


def test_a_follower_on_a_database_goes_on_with_the_new_user_in_its_file(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, slack_and_email: Sandbox, follow: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    store, file = Store(postgres_url), tmp_path / "url"
    names = [f"follower_{number}_{uuid.uuid4().hex[:8]}" for number in range(2)]

    def execute(*statements: str) -> None:
        with store.writing() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def write_url(name: str) -> None:
        url = make_url(postgres_url).set(username=name, password=f"password of {name}")
        file.write_text(url.render_as_string(hide_password=False))

    execute(*(f"CREATE ROLE {name} LOGIN SUPERUSER" for name in names))
    write_url(names[0])
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    follower = follow(environ | {"DATABASE_URL_FILE": str(file)}, "--since", "1h", "-o", "jsonl")
    send_alert("first", "slack:#first")
    follower.wait_for("#first", "success")
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{names[0]}'"
    execute(f"ALTER ROLE {names[0]} NOLOGIN", ended)
    write_url(names[1])
    send_alert("second", "slack:#second")
    follower.wait_for("#second", "success")
    assert follower.ctrl_c()[0] == 130
    wait_until(lambda: not _sessions(store, names))
    execute(*(f"DROP ROLE {name}" for name in names))
    store.close()


def _sessions(store: Store, names: list[str]) -> int:
    with store.reading() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE usename = ANY(:names)")
        return int(connection.execute(query, {"names": names}).scalar_one())
