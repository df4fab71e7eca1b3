"""No error about a database URL shows a part of its password, in any command, with --debug too."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import pq

from alertctl.config.database_url import database_url, masked, passwords
from alertctl.db import Store
from alertctl.errors import AlertctlError
from tests.support import cli_process
from tests.support.cases import each
from tests.support.cli import run

PARTS = ("planted1", "planted2", "planted3")
"""The parts of each password, between special characters: none of them may show."""
SPECIAL = "@#?/:&=[]%\\ +;,'\"<>|~$"
REFUSED = [
    "postgresql://u:planted1@planted2#planted3@127.0.0.1:1/d",
    "postgresql://u:planted1@planted2?planted3@127.0.0.1:1/d",
    "postgresql://u:planted1@planted2/planted3@127.0.0.1:1/d",
    "postgresql://u:1/planted2?planted3@127.0.0.1:1/d",
    "postgresql://u:1#planted2@127.0.0.1:1/d",
    "postgresql://u:1?planted2=planted3@127.0.0.1:1/d",
    "postgresql://u:planted1@127.0.0.1:1/d?application_name=a@corp",
    "postgresql://u:planted1@127.0.0.1:/d",
    "postgresql://u:planted1@127.0.0.1:port/d",
    "postgresql://u:planted1@127.0.0.1:99999/d",
    "postgresql://u:planted1@[::1/d",
    "postgresql://u:planted1/d",
    "mysql://u:planted1@planted2#planted3@h/d",
    "sqlite://u:planted1@h/d",
    "postgresql://u@127.0.0.1:1/d?password=planted1&planted2=planted3",
    "postgresql://u@127.0.0.1:1/d?sslpassword=planted1&planted2=planted3",
    "postgresql://u:planted1@127.0.0.1:1/d?passwd=planted2",
]
BAD_AT_THE_DRIVER = [
    "postgresql://u:planted1@127.0.0.1:1/d",
    "postgresql://u:planted1@nowhere.invalid/d",
    "postgresql://u:planted1@127.0.0.1:1/d?sslmode=none",
    "postgresql://u:planted1@127.0.0.1:1/d?connect_timeout=soon",
    "postgresql://u:planted1%00planted2@127.0.0.1:1/d",
    "postgresql://u:planted1%ffplanted2@127.0.0.1:1/d",
    "postgresql://u:planted1@127.0.0.1:1/d?%70assword=planted2",
]


def shows_a_part(text: str) -> bool:
    return any(part in text for part in PARTS)


@each("url", REFUSED)
def test_an_ambiguous_address_is_refused_without_its_text(problems_in, url):
    (line,) = problems_in({"DATABASE_URL": url})
    assert line.startswith("DATABASE_URL: ")
    assert not shows_a_part(line)


def test_the_refusal_says_how_special_characters_are_written(problems_in):
    (line,) = problems_in({"DATABASE_URL": REFUSED[0]})
    assert "%40 for @, %2F for /, %3F for ?, %23 for #" in line


def shown_of(url: str) -> str:
    """Return the parts of a database's address that it shows: its name, its host, or the error."""
    try:
        store = Store(database_url(url))
    except (AlertctlError, ValueError) as error:
        return str(error)
    store.close()
    return f"{store.shown} {store.url.host} {masked(url)}"


@each("first", SPECIAL)
def test_no_raw_special_character_makes_a_part_of_the_password_show(first):
    for second in SPECIAL:
        shown = shown_of(f"postgresql://u:planted1{first}planted2{second}planted3@127.0.0.1:1/d")
        assert not shows_a_part(shown), (second, shown)


def test_an_accepted_address_has_its_complete_password_redacted():
    rng = random.Random(1)
    for _ in range(300):
        password = "".join(rng.choice("ab" + SPECIAL) for _ in range(8))
        try:
            url = database_url(f"postgresql://u:{password}@127.0.0.1:1/d")
        except ValueError:
            continue
        store = Store(url)
        assert (store.url.password or "") in ["", *passwords(url)]
        store.close()


def commands(url: str) -> list[list[str]]:
    known = ["--database", url]
    return [
        [*known, "log"],
        [*known, "db", "status"],
        [*known, "db", "backup", "b.db"],
        [*known, "doctor", "db"],
        [*known, "config", "check"],
        [*known, "config", "show"],
        ["db", "copy", "--to", url],
        # In the wrong place, where the command line itself quotes it.
        ["db", "copy", url],
        [url],
        ["log", "show", url],
        ["--databse", url, "log"],
    ]


@pytest.fixture
def in_a_folder(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    return tmp_path


@pytest.mark.parametrize("url", [*REFUSED, *BAD_AT_THE_DRIVER])
def test_no_command_shows_a_part_of_the_password(in_a_folder, url, long):
    """Without --long each command runs with --debug for some addresses, without it for the others."""
    is_debugged = [True, False] if long else [url in (REFUSED[0], *BAD_AT_THE_DRIVER[:2])]
    for debug in is_debugged:
        for arguments in commands(url):
            ran = run(*(["--debug"] if debug else []), *arguments)
            assert not shows_a_part(ran.output), (arguments, ran.output)


@pytest.mark.parametrize("url", [REFUSED[0], *BAD_AT_THE_DRIVER[:2]])
@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("send", "--event", "generic_alert", "--title", "x")])
def test_neither_the_daemon_nor_a_send_shows_a_part_of_the_password(tmp_path, url, arguments):
    environ = {"HOME": str(tmp_path), "PATH": os.defpath, "DATABASE_URL": url, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "alertctl", "--debug", *arguments]
    output = ""
    with cli_process.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        assert started.stdout is not None
        for line in started.stdout:
            output += line
            if " alertctl.daemon: database " in line:
                # It would try again until the database answers.
                started.terminate()
    assert output
    assert not shows_a_part(output)
    kept = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.json"))
    assert not shows_a_part(kept)


@pytest.mark.parametrize("name", ["SLACK_API_URL", "SMTP_HOST", "ALERTCTL_SERVER", "SMTP_PORT"])
def test_a_databases_address_in_another_variable_is_not_quoted_either(problems_in, name):
    assert not shows_a_part("".join(problems_in({name: "postgres://u:planted1/planted2?planted3@h/d"})))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%23word@h/d",
        "postgresql://u:pass:word@h:5432/d?sslmode=require",
        "postgresql://u@/d?host=/run/postgresql",
        "postgresql://postgres:@/postgres?host=/tmp/socket",
        "postgres://u:pw@[::1]:5432/d",
        "postgresql://h",
        "postgresql://u@h/d?password=pw&sslmode=verify-full&sslrootcert=ca.pem&host=/run/socket",
    ],
)
def test_addresses_that_every_parser_reads_alike_are_still_accepted(url):
    assert database_url(url).endswith(url.partition("://")[2])


def test_every_parameter_of_the_installed_driver_may_stand_beside_a_password():
    names = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    assert "sslmode" in names
    for name in names:
        assert database_url(f"postgresql://h/d?password=pw&{name}=x")
