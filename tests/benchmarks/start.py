"""How long `send` and `--help` take as processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from alertctl.db import Store, upgrade
from tests.benchmarks.lines import Bar, Line, compared
from tests.benchmarks.processes import ROOT, Child, daemon, double, environment
from tests.benchmarks.setup import Setup, developer_token, settings

LOCAL = Bar(at_most=9)
REMOTE = Bar(at_most=3.5)
HELP = Bar(at_most=2)
CHILDREN = ROOT / "tests" / "benchmarks" / "children"
SEND = [sys.executable, "-m", "alertctl", "send", "--event", "generic_alert", "--title", "cold", "--to", "slack:#ops"]


def start(setup: Setup) -> Iterator[Line]:
    """`alertctl send` with the local database and through a server, and `--help`; in turns with bare Python."""
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        slack = opened.enter_context(double(0.0, tls=False))
        url = f"sqlite:///{folder}/alertctl.db"
        store = Store(url)
        opened.callback(store.close)
        upgrade(store)
        here = {"HOME": folder, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
        plain = settings(slack, url, ALERTCTL_CA_BUNDLE="")
        local = here | plain
        yield _send(setup, slack, local, folder, "local database", LOCAL)
        server = opened.enter_context(daemon(plain))
        remote = here | {"ALERTCTL_SERVER": server.url, "ALERTCTL_TOKEN": developer_token(store)}
        remote |= {"DATABASE_URL": f"sqlite:///{folder}/unused.db"}
        yield _remote(setup, slack, remote, folder)
        yield _help(setup, here, folder)


def _send(setup: Setup, slack: Child, ours: Mapping[str, str], folder: str, how: str, bar: Bar) -> Line:
    bare = [sys.executable, str(CHILDREN / "bare_send.py"), "--database", f"{folder}/bare.db", "--title", "cold"]
    bare += ["--url", f"{slack.hello['url']}/api/chat.postMessage"]
    setup.report(f"start: send, {how}")
    for command in (SEND, bare):
        _time_process(command, ours, folder)
    slack.ask("reset")
    times = [(_time_process(SEND, ours, folder), _time_process(bare, {}, folder)) for _ in range(setup.sizes.starts)]
    arrived = len(slack.ask("seen")["arrivals"])
    if arrived != 2 * setup.sizes.starts:
        raise RuntimeError(f"{arrived} messages arrived for {2 * setup.sizes.starts} sends")
    what = f"alertctl send as a process, {how}"
    return compared("start", what, "SQLite", "ms", times, "argparse, sqlite3, http.client", bar)


def _remote(setup: Setup, slack: Child, ours: Mapping[str, str], folder: str) -> Line:
    """Measure `send` through a server. A command that made a local database did not use it and isn't counted."""
    try:
        line = _send(setup, slack, ours, folder, "remote mode", REMOTE)
        reason = "it used a database of its own" if Path(folder, "unused.db").exists() else None
    except (RuntimeError, subprocess.CalledProcessError) as error:
        reason = f"it failed: {error}"
    if reason is None:
        return line
    what = "alertctl send as a process, remote mode"
    return Line(row="start", what=what, database="SQLite", value=None, unit="ms", bar=REMOTE, note=reason[:120])


def _help(setup: Setup, here: Mapping[str, str], folder: str) -> Line:
    ours = [sys.executable, "-m", "alertctl", "--help"]
    bare = [sys.executable, str(CHILDREN / "bare_help.py"), "--help"]
    setup.report("start: --help")
    for command in (ours, bare):
        _time_process(command, here, folder)
    times = [(_time_process(ours, here, folder), _time_process(bare, here, folder)) for _ in range(setup.sizes.starts)]
    return compared("start", "alertctl --help", "-", "ms", times, "typer alone", HELP)


def _time_process(command: list[str], settings: Mapping[str, str], folder: str) -> float:
    """Run a command and return its milliseconds. Raises CalledProcessError."""
    began = time.monotonic()
    subprocess.run(command, env=environment(settings), cwd=folder, check=True, capture_output=True)
    return 1000 * (time.monotonic() - began)
