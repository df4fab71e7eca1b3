"""`send` when the server refuses the token, or the settings are wrong: the event is spooled, with what to do next."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alertctl import notify, users
from alertctl.client.remote import OTHER_PUBLISHER
from alertctl.config.database_url import default_url
from alertctl.db import Store
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest
from alertctl.spool import Destination, Spool, database_address
from tests.support.cli import data, process, run
from tests.support.clients import ADMIN, answering, now, serving, settings_on, token_for

SEND = ("send", "--event", "generic_alert", "--title", "Disk full", "--to", "slack:#ops")
LOGIN_PAGE = b"HTTP/1.1 %d Nope\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<p>log in</p>\r\n"


@pytest.fixture
def server(sqlite_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a server that the environment names, without a token."""
    settings = settings_on(sqlite_url, sandbox.settings())
    with serving(settings, scheduled=False) as address:
        monkeypatch.setenv("ALERTCTL_SERVER", address)
        yield address


def waiting() -> list[dict[str, object]]:
    return list(data("spool", "list")["items"])


def revoked(url: str) -> str:
    store = Store(url)
    item, secret = store.write(lambda it: users.create_token(it, ADMIN, "admin", None, now()))
    store.write(lambda it: users.revoke_token(it, item.id, now()))
    store.close()
    return secret


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("missing", "ALERTCTL_TOKEN is not set"),
        ("unknown", "the token is unknown"),
        ("revoked", "the token was revoked"),
        ("a viewer's", "this requires the role developer or higher"),
    ],
)
def test_an_event_whose_token_is_refused_waits_for_a_command_with_a_good_one(
    server, sqlite_url, sandbox: Sandbox, monkeypatch, token, error
):
    secret = {
        "missing": lambda: "",
        "unknown": lambda: "actl_nothing",
        "revoked": lambda: revoked(sqlite_url),
        "a viewer's": lambda: token_for(sqlite_url, "viewer@corp.example", "viewer"),
    }[token]()
    monkeypatch.setenv("ALERTCTL_TOKEN", secret)
    ran = run(*SEND, "--idempotency-key", "job 1")
    first, second = ran.stderr.splitlines()
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert first.startswith(f"alertctl: {error}")
    assert second.startswith("alertctl: spooled as ")
    assert second.endswith(f"; the next command with a valid ALERTCTL_TOKEN for {server} publishes it")
    (listed,) = waiting()
    assert (listed["destination"], str(listed["cause"]).startswith(error)) == (server, True)
    monkeypatch.setenv("ALERTCTL_TOKEN", token_for(sqlite_url, ADMIN, "admin"))
    assert "published 1 event from the spool" in run("status").stderr
    (item,) = data("log")["items"]
    assert data("log", "show", item["id"])["event"]["published_by"] == ADMIN
    assert waiting() == []


def test_a_refused_token_ends_with_4_only_with_strict(server, monkeypatch):
    assert run(*SEND, "--strict").exit_code == 4
    answer = data(*SEND)
    assert (answer["spooled"], answer["lost"], answer["event_id"]) == (True, False, None)
    monkeypatch.setenv("ALERTCTL_STRICT", "1")
    assert [run(*SEND).exit_code, run(*SEND, "--no-strict").exit_code] == [4, 0]
    monkeypatch.setenv("ALERTCTL_STRICT", "perhaps")
    ran = run(*SEND)
    assert ran.exit_code == 0
    assert 'warning: ALERTCTL_STRICT: "perhaps" is neither true nor false' in ran.stderr
    assert len(waiting()) == 5


def test_a_publish_token_that_repeats_the_event_of_another_user_spools_nothing(server, sqlite_url, monkeypatch):
    monkeypatch.setenv("ALERTCTL_TOKEN", token_for(sqlite_url, ADMIN, "admin"))
    repeated = (*SEND, "--set", "dedup_key=disk", "--strict")
    assert run(*repeated, "--queue").exit_code == 0
    store = Store(sqlite_url)
    _, token = store.write(lambda it: users.create_token(it, "ci@corp.example", None, None, now(), scope="publish"))
    store.close()
    monkeypatch.setenv("ALERTCTL_TOKEN", token)
    ran = run(*repeated)
    repeat, warning = ran.stderr.splitlines()
    assert (ran.exit_code, "#ops" in ran.stdout, waiting()) == (3, True, [])
    assert repeat.startswith("already recorded as ")
    assert warning == f"alertctl: warning: {OTHER_PUBLISHER}"
    notified = notify("generic_alert", title="Disk full", to="slack:#ops", dedup_key="disk", deliver=True)
    assert (notified.outcome, notified.warnings) == ("repeated", (OTHER_PUBLISHER,))


@pytest.mark.parametrize("status", [401, 403, 404, 407, 413])
def test_an_answer_of_a_proxy_in_between_is_no_reason_to_lose_an_event(monkeypatch, status):
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    with answering(*[LOGIN_PAGE % status] * 3) as address:
        monkeypatch.setenv("ALERTCTL_SERVER", address)
        ran = run(*SEND)
        assert (ran.exit_code, ran.stdout, "spooled as " in ran.stderr) == (0, "", True)
        assert "ALERTCTL_TOKEN" not in ran.stderr
        assert run(*SEND, "--strict").exit_code == (4 if status in (401, 403) else 5)
    assert [item["destination"] for item in waiting()] == [address, address]


def test_a_proxy_that_wants_a_password_is_no_reason_either():
    with answering(*[LOGIN_PAGE % 407] * 20) as proxy:
        settings = {"ALERTCTL_SERVER": "https://alerts.corp.example", "ALERTCTL_TOKEN": "actl_x", "HTTPS_PROXY": proxy}
        ran = process(*SEND, env={**os.environ, **settings, "ALERTCTL_TIMEOUT": "1s"})
    assert (ran.returncode, ran.stdout, len(waiting())) == (0, "", 1), ran.stderr
    assert "can't be reached: the proxy requires a user name and password; put them into" in ran.stderr


def test_a_404_that_looks_like_ours_is_no_reason_either(monkeypatch):
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    body = b'{"detail": "no route"}'
    reply = b"HTTP/1.1 404 Nope\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(*[reply + body] * 3) as address:
        monkeypatch.setenv("ALERTCTL_SERVER", address)
        assert run(*SEND).exit_code == 0
    assert len(waiting()) == 1


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"HTTPS_PROXY": "ftp://corp.example"}, "HTTPS_PROXY: a proxy's address is"),
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, ""),
        ({"ALERTCTL_TOKEN": "actl_naïve"}, "ALERTCTL_TOKEN: contains a space, a line break or a non-ASCII character"),
        (
            {"ALERTCTL_TOKEN": "actl_x\nactl_y"},
            "ALERTCTL_TOKEN: contains a space, a line break or a non-ASCII character",
        ),
        ({"ALERTCTL_TOKEN_FILE": "/no/such"}, "ALERTCTL_TOKEN_FILE: /no/such does not exist"),
        ({"ALERTCTL_CA_BUNDLE": "/no/such"}, 'ALERTCTL_CA_BUNDLE: "/no/such" is not a file'),
        ({"ALERTCTL_TIMEOUT": "soon"}, 'ALERTCTL_TIMEOUT: "soon" is not a duration'),
    ],
)
def test_settings_that_keep_us_from_the_server_spool_for_that_server(monkeypatch, environment, error):
    monkeypatch.setenv("ALERTCTL_SERVER", "https://alerts.corp.example")
    monkeypatch.setenv("ALERTCTL_TIMEOUT", "300ms")
    if "ALERTCTL_TOKEN_FILE" not in environment:
        monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = run(*SEND)
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr.startswith(f"alertctl: {error}")
    (listed,) = waiting()
    assert (listed["destination"], str(listed["cause"]).startswith(error)) == ("https://alerts.corp.example", True)
    assert run(*SEND, "--strict").exit_code == 5
    assert run("log").exit_code != 0


@pytest.mark.parametrize(
    "server",
    [
        "alerts.corp.example",
        "htp://alerts.corp.example/",
        "https://ana:pa55word@alerts.corp.example",
        "actl_0123456789abcdef",
    ],
)
def test_a_server_that_is_no_address_spools_without_any_secret(monkeypatch, server):
    monkeypatch.setenv("ALERTCTL_SERVER", server)
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    ran = run(*SEND)
    assert (ran.exit_code, ran.stderr.startswith("alertctl: ALERTCTL_SERVER: ")) == (0, True)
    (listed,) = waiting()
    assert listed["destination"] == "the destination that ALERTCTL_SERVER names"
    (file,) = Spool.of(os.environ).folder.iterdir()
    assert "pa55word" not in file.read_text() + ran.stderr
    assert "0123456789abcdef" not in file.read_text()


@contextmanager
def broken(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use settings that can't be read, or name no usable database."""
    if kind == "toml":
        (folder / "alertctl.toml").write_text("[slack\n")
    elif kind == "dotenv":
        (folder / ".env").write_text("SLACK_ENABLED='open\n")
    elif kind == "config":
        monkeypatch.setenv("ALERTCTL_CONFIG", "/no/such.toml")
    elif kind == "unknown":
        (folder / "alertctl.toml").write_text("[databse]\nurl = 'sqlite:///x.db'\n")
    else:
        monkeypatch.setenv("DATABASE_URL", "postgrse://db/alerts")
    yield
    (folder / "alertctl.toml").unlink(missing_ok=True)
    (folder / ".env").unlink(missing_ok=True)
    monkeypatch.delenv("ALERTCTL_CONFIG", raising=False)


@pytest.mark.parametrize("database", ["default", "named"])
@pytest.mark.parametrize("kind", ["toml", "dotenv", "config", "unknown"])
def test_an_event_whose_settings_file_is_faulty_waits_for_that_file(
    slack_and_email: Sandbox, monkeypatch, tmp_path, kind, database
):
    """The file may name another database than the default one, or a server, which comes before a database."""
    if database == "default":
        monkeypatch.delenv("DATABASE_URL")
    file = {"dotenv": f"{tmp_path}/.env", "config": "/no/such.toml"}.get(kind, f"{tmp_path}/alertctl.toml")
    with broken(kind, tmp_path, monkeypatch):
        ran = run(*SEND)
        assert (ran.exit_code, ran.stdout, run("log").exit_code) == (0, "", 2)
        assert (
            f"the next command that uses the destination that {file} names publishes it; alertctl spool" in ran.stderr
        )
    (listed,) = waiting()
    assert listed["destination"] == f"the destination that {file} names"
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path / "elsewhere")
        assert "spool" not in run("log").stderr
    if kind == "config":
        assert "spool" not in run("log").stderr
        assert run("spool", "flush", str(listed["id"])).exit_code == 0
    else:
        assert "published 1 event" in run("log").stderr
    assert waiting() == []


@pytest.mark.parametrize("database", ["default", "named"])
def test_an_event_whose_dotenv_is_unread_because_of_a_typo_waits_for_it(
    slack_and_email: Sandbox, monkeypatch, tmp_path, database
):
    right = f"sqlite:///{tmp_path}/right.db"
    (tmp_path / ".env").write_text(f"DATABASE_URL={right}\n")
    if database == "default":
        monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("ALERTCTL_NO_DOTENV", "flase")
    ran = run(*SEND)
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr.startswith('alertctl: ALERTCTL_NO_DOTENV: "flase" is neither true nor false\n')
    assert "the default applies" not in ran.stderr
    (listed,) = waiting()
    assert listed["destination"] == f"the destination that ALERTCTL_NO_DOTENV in {tmp_path} names"
    assert notify("generic_alert", title="Disk full").outcome == "spooled"
    monkeypatch.setenv("ALERTCTL_NO_DOTENV", "false")
    assert "published 2 events" in run("log").stderr


def test_a_typo_that_leaves_no_dotenv_unread_is_a_warning(slack_and_email: Sandbox, monkeypatch):
    monkeypatch.setenv("ALERTCTL_NO_DOTENV", "flase")
    ran = run(*SEND, "--strict")
    assert (ran.exit_code, "recorded " in ran.stderr) == (0, True)
    assert 'warning: ALERTCTL_NO_DOTENV: "flase" is neither true nor false' in ran.stderr


@pytest.mark.parametrize("database", ["default", "named"])
def test_an_event_for_a_database_that_this_version_cannot_use_waits_for_that_database(
    slack_and_email: Sandbox, monkeypatch, tmp_path, database
):
    if database == "default":
        monkeypatch.delenv("DATABASE_URL")
    run("log")
    url = os.environ.get("DATABASE_URL", default_url(os.environ))
    with closing(Store(url)) as store, store.writing() as connection:
        connection.exec_driver_sql("UPDATE alertctl_version SET version_num = '0999'")
    ran = run(*SEND)
    assert (ran.exit_code, ran.stderr.startswith("alertctl: DATABASE_URL: ")) == (0, True)
    assert f"; after that, the next command that uses {database_address(url)} publishes it" in ran.stderr
    (listed,) = waiting()
    assert listed["destination"] == database_address(url)
    with monkeypatch.context() as other:
        other.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
        assert "spool" not in run("log").stderr


def test_an_event_for_another_programs_database_waits_for_the_database_that_is_named_later(
    slack_and_email: Sandbox, monkeypatch, tmp_path
):
    url = os.environ["DATABASE_URL"]
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/theirs.db")
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as theirs:
        theirs.execute("CREATE TABLE event (id int)")
    assert "of another program; use a separate database" in run(*SEND).stderr
    assert "event of another program" in run("doctor", "db", "-o", "json").stdout
    monkeypatch.setenv("DATABASE_URL", url)
    assert "published 1 event" in run("log").stderr


@pytest.mark.parametrize("name", ["ALERTCTL_CONFIG", ".env"])
def test_an_event_that_an_earlier_version_spooled_for_a_faulty_file_is_published(slack_and_email: Sandbox, name):
    request = PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=["slack:#ops"], idempotency_key="x")
    there = Destination(f"the destination that {name} names", False)
    Spool.of(os.environ).keep(request, there, "it was faulty", datetime.now(UTC))
    assert "published 1 event" in run("log").stderr


@pytest.mark.parametrize(
    "refused",
    [
        {},
        {"ALERTCTL_SERVER": "http://alerts.corp.example"},
    ],
    ids=["an address of the working folder", "http to a public address"],
)
def test_an_event_for_a_refused_server_waits_for_the_server_that_is_named_later(
    server, sqlite_url, monkeypatch, tmp_path, refused
):
    monkeypatch.setenv("ALERTCTL_TOKEN", token_for(sqlite_url, ADMIN, "admin"))
    for name in ("ALERTCTL_SERVER", "DATABASE_URL"):
        monkeypatch.delenv(name)
    for name, value in refused.items():
        monkeypatch.setenv(name, value)
    if not refused:
        (tmp_path / ".env").write_text(f"ALERTCTL_SERVER={server}\n")
    ran = run(*SEND)
    assert (ran.exit_code, ran.stderr.startswith("alertctl: ALERTCTL_SERVER: ")) == (0, True)
    (listed,) = waiting()
    assert listed["destination"] == "the destination that ALERTCTL_SERVER names"
    (tmp_path / ".env").unlink(missing_ok=True)
    with monkeypatch.context() as local:
        local.delenv("ALERTCTL_SERVER", raising=False)
        assert "spool" not in run("log").stderr
    monkeypatch.setenv("ALERTCTL_SERVER", server)
    assert "published 1 event" in run("log").stderr
    assert waiting() == []


def test_an_event_for_a_refused_database_waits_for_the_database_that_is_named_later(
    slack_and_email: Sandbox, monkeypatch, tmp_path
):
    url = os.environ["DATABASE_URL"]
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("PGPASSWORD", "secret")
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://db.corp.example/alerts\n")
    ran = run(*SEND)
    assert (ran.exit_code, ran.stderr.startswith("alertctl: DATABASE_URL: ")) == (0, True)
    (tmp_path / ".env").unlink()
    assert "spool" not in run("log").stderr
    monkeypatch.setenv("DATABASE_URL", url)
    assert "published 1 event" in run("log").stderr


def test_an_unusable_database_url_spools_until_it_is_repaired(slack_and_email: Sandbox, monkeypatch, tmp_path):
    url = os.environ["DATABASE_URL"]
    with broken("url", tmp_path, monkeypatch):
        ran = run(*SEND)
    assert (ran.exit_code, ran.stderr.startswith("alertctl: DATABASE_URL: postgrse:// is not")) == (0, True)
    (listed,) = waiting()
    assert listed["destination"] == "the destination that DATABASE_URL names"
    monkeypatch.setenv("DATABASE_URL", url)
    assert "published 1 event from the spool" in run("log").stderr
    assert waiting() == []


def test_the_list_shows_why_an_event_waits_now(server, monkeypatch):
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_nothing")
    run(*SEND)
    assert str(waiting()[0]["cause"]).startswith("the token is unknown")
    monkeypatch.setenv("ALERTCTL_TOKEN", "")
    assert run("spool", "flush").exit_code == 4
    assert str(waiting()[0]["cause"]).startswith("ALERTCTL_TOKEN is not set")
    shown = " ".join(run("spool", "list").stdout.split())
    assert all(word in shown for word in ("ALERTCTL_TOKEN is not", "requires it;", "an admin of that server")), shown


def test_a_refused_dry_run_stays_refused(server):
    assert run(*SEND, "--dry-run").exit_code == 4
    assert waiting() == []


def test_a_receipt_and_json_name_the_cause(server, tmp_path):
    answer = json.loads(run(*SEND, "--receipt", "receipt.json", "-o", "json").stdout)
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert (receipt["outcome"], receipt["spool_id"]) == ("spooled", answer["spool_id"])
    assert receipt["error"] == answer["warnings"][0]
    assert receipt["error"].startswith("ALERTCTL_TOKEN is not set")


@pytest.mark.parametrize("meant", ["true", "false"])
def test_an_event_that_waits_for_an_unclear_switch_of_a_dotenv_file_is_published_with_a_clear_one(
    slack_and_email: Sandbox, monkeypatch, tmp_path, meant
):
    (tmp_path / ".env").write_text("OTHER_PROGRAM=1\n")
    monkeypatch.setenv("ALERTCTL_NO_DOTENV", "ture")
    assert "spooled as " in run(*SEND).stderr
    monkeypatch.setenv("ALERTCTL_NO_DOTENV", meant)
    assert "published 1 event" in run("log").stderr


def test_an_event_for_a_server_ignores_an_unreadable_database_address(server, sqlite_url, monkeypatch, tmp_path):
    monkeypatch.setenv("ALERTCTL_TOKEN", token_for(sqlite_url, ADMIN, "admin"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "missing"))
    assert "spooled as " in run(*SEND).stderr
    monkeypatch.delenv("DATABASE_URL_FILE")
    assert "published 1 event" in run("log").stderr


def test_a_wrong_alertctl_strict_is_named_also_for_an_event_that_is_not_recorded(monkeypatch):
    monkeypatch.setenv("ALERTCTL_STRICT", "ture")
    monkeypatch.setenv("DATABASE_URL", "sqlite:////dev/null/alertctl.db")
    ran = run(*SEND)
    assert (ran.exit_code, "spooled as " in ran.stderr) == (0, True)
    assert 'warning: ALERTCTL_STRICT: "ture" is neither true nor false; the default applies: false' in ran.stderr


def test_an_unknown_key_about_the_dotenv_file_holds_up_no_event(slack_and_email: Sandbox, tmp_path):
    (tmp_path / "alertctl.toml").write_text("[alertctl]\nno_dotenv = false\n")
    ran = run(*SEND)
    assert ("recorded " in ran.stderr, "warning: ALERTCTL_NO_DOTENV: [alertctl] has no no_dotenv" in ran.stderr) == (
        True,
        True,
    )
