"""The processes of a run: children that speak JSON lines, the daemon, and their CPU and memory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0
SETTINGS_PREFIXES = (
    "SLACK_",
    "EMAIL_",
    "SENDGRID_",
    "SMTP_",
    "NOTIFICATION_",
    "DATABASE_",
    "RETRY_",
    "PRUNE_",
    "JWT_",
    "ALERTCTL_",
)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with only these settings; .pyc files are kept, as after an installation."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS_PREFIXES)}
    rest.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**rest, "PYTHONPATH": str(ROOT), **settings}


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until `true` returns something truthy, and return that. Raises TimeoutError that names `what`."""
    deadline = time.monotonic() + seconds
    while not (result := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
    return result


class Child:
    """A module of `children/` that answers each line of its stdin with one line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.hello = self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return json.loads(line)


@contextmanager
def child(name: str, *arguments: str, **settings: str) -> Iterator[Child]:
    command = [sys.executable, "-m", f"tests.benchmarks.children.{name}", *arguments]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(settings), **pipes) as process:
        try:
            yield Child(process)
        finally:
            process.terminate()


def double(latency: float, *, tls: bool = True) -> AbstractContextManager[Child]:
    """A provider that answers after `latency` seconds; its `hello` has `url` and `ca_file`."""
    return child("double", str(latency), "tls" if tls else "plain")


def load(url: str, path: str, token: str, body: bytes, connections: int, count: int) -> dict[str, float]:
    """Make `count` calls over kept connections from another process; returns what `children/load.py` prints."""
    host, port = url.removeprefix("http://").split(":")
    command = [sys.executable, "-m", "tests.benchmarks.children.load", host, port, path, token]
    command += [str(connections), str(count), "202"]
    done = subprocess.run(command, input=body, env=environment({}), stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running `alertctl serve`."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def cpu(self) -> float:
        """CPU seconds so far, user and system, of all its threads."""
        return cpu_of(self.process.pid)

    @property
    def resident(self) -> float:
        """Megabytes of memory that it holds."""
        return resident(self.process.pid)


@contextmanager
def daemon(settings: Mapping[str, str], *arguments: str) -> Iterator[Daemon]:
    """Run `alertctl serve` on a free port; it is ended by SIGTERM. Raises with its stderr if it doesn't start."""
    command = [sys.executable, "-m", "alertctl", "serve", "--port", "0", *arguments]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "stderr").open("w+b") as log:
        here = {"HOME": folder, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
        with subprocess.Popen(command, env=environment(here | dict(settings)), stderr=log, cwd=folder) as process:
            try:
                yield Daemon(process, until(lambda: _address(process, Path(log.name)), START_SECONDS, "alertctl serve"))
            finally:
                _end(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str | None:
    output = log.read_text(errors="replace")
    if process.poll() is not None:
        raise RuntimeError(f"alertctl serve ended with {process.returncode}: {output[-2000:]}")
    match = re.search(r"serves on (http://\S+)\n", output)
    return match[1] if match else None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and all its threads. Linux counts them in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Return the megabytes of resident memory (VmRSS), shared libraries included."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024
