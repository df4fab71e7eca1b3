"""Machines for the end-to-end tests: each with a home and a shell, one with a daemon and the sandbox."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from alertctl.sandbox import Sandbox
from tests.ops.checkout import ROOT
from tests.support import cli_process
from tests.support.cli_command import write_command

TIMEOUT = 60.0
"""Maximum seconds of one step."""


@dataclass
class Machine:
    """A computer with a home, and only these settings in its environment."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write_command(self.home / "bin" / "alertctl")

    @property
    def environ(self) -> dict[str, str]:
        usual = {"HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        return usual | {"COLUMNS": "80", "TZ": "UTC", "LC_ALL": "C.UTF-8"} | self.settings

    def sh(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script under `set -eu`, as a CI job does."""
        return subprocess.run(
            ["bash", "-euc", script],
            env=self.environ | variables,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-m", *command] if command[0] == "alertctl" else [*command]
        return cli_process.Popen(
            arguments, env=self.environ, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


class Server(Machine):
    """A machine that runs `alertctl serve`, always at the same address, with the sandbox as its providers."""

    def __init__(self, home: Path, sandbox: Sandbox, **settings: str) -> None:
        super().__init__(
            home, sandbox.settings() | {"SLACK_PER_SECOND": "0", "RETRY_SCHEDULE": "300ms " * 20} | settings
        )
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._daemon: subprocess.Popen[str] | None = None

    def up(self, *options: str) -> None:
        self._daemon = self.start("alertctl", "serve", "--port", str(self.port), *options)
        assert self._daemon.stderr is not None
        lines = []
        for line in self._daemon.stderr:
            lines.append(line)
            if re.match(r"alertctl serves on ", line):
                return
        raise AssertionError("".join(lines))

    def down(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(how)
            self._daemon.communicate(timeout=TIMEOUT)
            self._daemon = None

    def token(self, role: str) -> str:
        made = self.sh(f"alertctl token create --user {role}@corp.example --role {role}")
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()


def free_port() -> int:
    """Return a port that is free, and stays so: the system gives out higher ones (from 32768 on Linux)."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
