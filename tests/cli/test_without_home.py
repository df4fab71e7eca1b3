"""Commands as real processes of a user without a home folder, and events that cannot be spooled either."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import cli_process
from tests.support.cli import COMMAND, messages
from tests.support.cli_command import write_command
from tests.support.cli_process import STARTUP_VARIABLES

ROOT = Path(__file__).parents[2]
USER = 12345
"""A uid without an entry in passwd, as with `docker run --user 12345`."""
AS_USER: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []}
MODULES = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
SEND = ("send", "--event", "generic_alert", "--title", "Disk full")
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder that belongs to USER, below folders that everybody may enter."""
    if interpreter() is None:
        pytest.skip("only root can run as another user, who may read us")
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    (made / "work").mkdir()
    for each in (made, made / "work"):
        os.chown(each, USER, USER)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def command(tmp_path: Path) -> str:
    return str(write_command(tmp_path / "bin" / "alertctl"))


def as_user(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", *STARTUP_VARIABLES))}
    # A forked process has loaded the modules; USER may be unable to read them.
    start = {} if cli_process.can_fork() else {"PYTHONPATH": MODULES}
    ran = cli_process.run(
        [str(interpreter()), "-m", "alertctl", *arguments],
        env={**kept, **start, "TMPDIR": str(folder), **environment},
        cwd=folder / "work",
        **AS_USER,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in ran.stderr
    return ran


@cache
def interpreter() -> str | None:
    """Return an interpreter of this version for USER's processes: one that USER may run, unless they are forked."""
    if os.geteuid() != 0:
        return None
    if cli_process.can_fork():
        return sys.executable
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        tried = [python, "-c", "import alertctl.client.local"]
        with suppress(OSError, subprocess.CalledProcessError):
            ran = subprocess.run(
                tried, env={"PYTHONPATH": MODULES}, cwd="/", capture_output=True, check=False, **AS_USER
            )
            if ran.returncode == 0:
                return python
    return None


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "/"}, {"HOME": "/nonexistent"}, {"HOME": "/root"}])
def test_every_command_of_a_user_without_a_home_has_the_same_private_state(folder, environment):
    state = folder / f"alertctl-{USER}"
    sent = as_user(folder, *SEND, **environment)
    assert (sent.returncode, "recorded " in sent.stderr) == (0, True), sent.stderr
    assert f"the home folder is not writable: the delivery log is in {state}/alertctl.db" in sent.stderr
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    listed = as_user(folder, "log", "-o", "json", **environment)
    assert len(json.loads(listed.stdout)["items"]) == 1
    assert list((folder / "work").iterdir()) == []


def test_a_spool_in_the_temporary_folder_is_shared_by_commands_and_lost_with_the_machine(folder):
    away = {"HOME": "/nonexistent", "DATABASE_URL": "sqlite:////proc/none/alertctl.db"}
    sent = as_user(folder, *SEND, **away)
    assert (sent.returncode, sent.stdout) == (0, "")
    last = sent.stderr.splitlines()[-1]
    assert "spooled as " in last
    assert f"the spool ends with this machine ({folder}/alertctl-{USER}/spool)" in last
    (waits,) = json.loads(as_user(folder, "spool", "list", "-o", "json").stdout)["items"]
    flushed = as_user(folder, "spool", "flush", waits["id"])
    assert (flushed.returncode, flushed.stdout) == (0, "1 published, 0 refused, 0 remaining\n"), flushed.stderr


def test_a_state_folder_that_somebody_else_made_is_not_used_and_the_event_is_lost(folder):
    state = folder / f"alertctl-{USER}"
    state.mkdir(mode=0o777)
    away = {"HOME": "/nonexistent", "DATABASE_URL": "sqlite:////proc/none/alertctl.db"}
    for more in ({}, away):
        sent = as_user(folder, *SEND, **{"HOME": "/nonexistent", **more})
        assert (sent.returncode, sent.stdout) == (0, "")
        assert sent.stderr.splitlines()[-1].startswith("LOST: ")
        assert f"XDG_STATE_HOME: is not set, the home folder is not writable, and {state}" in sent.stderr
    assert list(state.iterdir()) == []
    assert as_user(folder, "log", HOME="/nonexistent").returncode == 2


@pytest.mark.parametrize("name", [".local/state/alertctl", ".local"])
def test_a_home_with_a_folder_that_cannot_be_written_is_as_good_as_none(folder, name):
    home = folder / "home"
    (home / ".local/state/alertctl").mkdir(parents=True)
    for owned in (home, home / ".local", home / ".local/state"):
        os.chown(owned, USER, USER)
    os.chown(home / name, 0, 0)
    (home / name).chmod(0o700)
    sent = as_user(folder, *SEND, HOME=str(home))
    assert "recorded " in sent.stderr
    assert (
        f"{home / name} is not a writable folder of this user (correct its owner and mode): the delivery log is in "
        f"{folder}/alertctl-{USER}/alertctl.db, which may be deleted"
    ) in sent.stderr
    assert (folder / f"alertctl-{USER}/alertctl.db").exists()


def test_a_spooled_event_that_cannot_be_read_waits_with_the_cause(folder):
    database = folder / "db"
    database.write_text("")
    environment = {"DATABASE_URL": f"sqlite:///{database}/alertctl.db", "XDG_STATE_HOME": str(folder)}
    for title in ("unreadable", "readable"):
        as_user(folder, *SEND[:-1], title, **environment)
    database.unlink()
    database.mkdir()
    os.chown(database, USER, USER)
    (file,) = (file for file in (folder / "alertctl/spool").iterdir() if b'"unreadable"' in file.read_bytes())
    os.chown(file, 0, 0)
    cause = f"{file} cannot be read: Permission denied"
    flushed = as_user(folder, "spool", "flush", **environment)
    assert (flushed.returncode, flushed.stdout) == (5, "1 published, 0 refused, 1 remaining\n")
    assert f"spool: 1 event remaining: {cause}" in flushed.stderr
    listed = as_user(folder, "spool", "list", **environment)
    assert (listed.stdout, listed.stderr) == ("", f"alertctl: warning: {cause}\n")
    os.chown(file, USER, USER)
    flushed = as_user(folder, "spool", "flush", **environment)
    assert (flushed.returncode, flushed.stdout) == (0, "1 published, 0 refused, 0 remaining\n"), flushed.stderr


def test_status_reports_a_spool_that_cannot_be_read(folder):
    environment = {"XDG_STATE_HOME": str(folder)}
    as_user(folder, *SEND, **environment)
    spool = folder / "alertctl/spool"
    spool.mkdir(mode=0o700)
    shown = as_user(folder, "status", **environment)
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "spool         cannot be read")
    assert f"alertctl: warning: spool {spool}: Permission denied; its events may wait" in shown.stderr
    assert json.loads(as_user(folder, "status", "-o", "json", **environment).stdout)["spool"] is None
    os.chown(spool, USER, USER)
    assert as_user(folder, "status", **environment).stdout.splitlines()[-1] == "spool         empty"


@pytest.fixture
def nothing_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither a database nor a spool: its folder is a link to nothing."""
    spool = tmp_path / "state/alertctl/spool"
    spool.parent.mkdir(parents=True)
    spool.symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", "sqlite:////proc/none/alertctl.db")
    return spool


@pytest.mark.parametrize("shell", SHELLS)
def test_a_lost_event_never_stops_a_script_and_is_the_last_line(nothing_works, command, tmp_path, shell):
    script = 'set -eu\n"$@"\nprintf done'
    ran = subprocess.run(
        [shell, "-c", script, shell, command, *SEND, "--receipt", "receipt.json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.returncode, ran.stdout) == (0, "done")
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("LOST: neither recorded nor spooled: database /proc/none/alertctl.db: ")
    assert last.endswith(f"; spool {nothing_works}: is not a folder; correct this and send the event again")
    assert json.loads((tmp_path / "receipt.json").read_text())["outcome"] == "lost"


def test_json_output_marks_a_lost_event_which_ends_with_5_when_strict(nothing_works):
    ran = cli_process.run([*COMMAND, *SEND, "--strict", "-o", "json"], capture_output=True, text=True, check=False)
    answer = json.loads(ran.stdout)
    assert (ran.returncode, answer["lost"], answer["spooled"], answer["spool_id"]) == (5, True, False, None)
    level, text = messages(ran.stderr)[-1]
    assert (level, text.startswith("LOST: ")) == ("error", True)


@pytest.mark.parametrize("output", ["/dev/full", "/dev/null"])
def test_a_loss_is_the_last_line_also_when_stdout_takes_nothing(nothing_works, output):
    with open(output, "w") as stdout:
        ran = cli_process.run(
            [*COMMAND, *SEND, "-o", "json"], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    assert [text for _, text in messages(ran.stderr) if text.startswith("LOST: ")] != []


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "environment",
    [
        {"ALERTCTL_SERVER": "http://127.0.0.1:1"},
        {"ALERTCTL_SERVER": "nonsense"},
        {"DATABASE_URL": "nonsense"},
        {"ALERTCTL_CONFIG": "/no/such.toml"},
        {"SMTP_PORT": "abc"},
        {"RETRY_SCHEDULE": "soon"},
    ],
)
def test_no_mistake_in_the_settings_stops_a_script(command, shell, environment):
    ran = subprocess.run(
        [shell, "-c", 'set -eu\n"$@" >/dev/null\nprintf done', shell, command, *SEND],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.returncode, ran.stdout) == (0, "done")
    assert ("spooled as " in ran.stderr) != ("recorded " in ran.stderr)


@pytest.mark.parametrize("url", ["sqlite:///relative.db", "sqlite:////proc/none/alertctl.db"])
def test_a_working_folder_that_was_removed_loses_no_event(tmp_path, url):
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    ran = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *SEND],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.returncode, "spooled as " in ran.stderr) == (0, True), ran.stderr


def test_in_ci_a_warning_says_that_the_spool_ends_with_the_machine(monkeypatch):
    environment = {**os.environ, "DATABASE_URL": "sqlite:////proc/none/alertctl.db"}
    for ci, ends in (("true", True), ("", False)):
        ran = cli_process.run(
            [*COMMAND, *SEND], env={**environment, "CI": ci}, capture_output=True, text=True, check=False, timeout=120
        )
        assert ("the spool ends with this machine" in ran.stderr.splitlines()[-1]) is ends
