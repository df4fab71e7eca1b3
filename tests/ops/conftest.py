"""A daemon and a command line as a newcomer has them: a sandbox, an empty folder, nothing else set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alertctl.sandbox import Sandbox
from tests.ops.checkout import ROOT
from tests.support import cli_process
from tests.support.cli_command import write_command

ALERTCTL = [sys.executable, "-m", "alertctl"]
PATIENCE = 60
"""Seconds that a daemon may take to start, at most."""


def environment(sandbox: Sandbox, home: Path) -> dict[str, str]:
    """The sandbox's settings, a home of one's own, and `alertctl` as a command; nothing of the developer's."""
    program = write_command(home / "bin" / "alertctl")
    return {
        **sandbox.settings(),
        "HOME": str(home),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }


@contextmanager
def serving(environ: dict[str, str], home: Path) -> Iterator[str]:
    """`alertctl serve` on a free port; gives its address, and ends it with SIGTERM."""
    command = [*ALERTCTL, "serve", "--port", "0"]
    with cli_process.Popen(command, env=environ, cwd=home, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        said = ""
        for line in daemon.stderr:
            said += line
            if found := re.fullmatch(r"alertctl serves on (http://\S+)\n", line):
                break
        else:
            raise AssertionError(f"alertctl serve ended with {daemon.wait(PATIENCE)}: {said}")
        try:
            yield found[1]
        finally:
            daemon.terminate()
            daemon.communicate(timeout=PATIENCE)
        assert daemon.returncode == 0


def token(environ: dict[str, str], home: Path, *, user: str = "dev@corp.example") -> str:
    """A token of an administrator."""
    command = [*ALERTCTL, "token", "create", "--user", user, "--role", "admin"]
    created = cli_process.run(command, env=environ, cwd=home, check=True, capture_output=True, text=True)
    return str(created.stdout).strip()


@pytest.fixture(scope="module")
def variables(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Set the variables of README's `export` lines, for a running daemon."""
    home = tmp_path_factory.mktemp("served")
    with Sandbox() as sandbox:
        environ = environment(sandbox, home)
        secret = token(environ, home)
        with serving(environ, home) as address:
            yield {
                "API": f"{address}/api/v1/notifications",
                "AUTH": f"Authorization: Bearer {secret}",
            }
