"""`alertctl log -f` as a process of its own, on the database or on a server, and what it has printed so far."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.support import cli_process
from tests.support.cli import COMMAND
from tests.support.waiting import wait_until

TIMEOUT = 60.0
State = tuple[str, str, str | None, int]
"""Address, status, error and attempts of a delivery."""


class Follower:
    """A process that follows the log; `lines` is what it has printed."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        command = [*COMMAND, "log", "-f", *arguments]
        self.process = cli_process.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(environ)
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def items(self) -> list[dict[str, Any]]:
        """Return the deliveries that `-o jsonl` has printed."""
        return [json.loads(line) for line in self.lines]

    def states(self) -> list[State]:
        return [(item["to"], item["status"], item["error"], item["attempts"]) for item in self.items()]

    def wait(self, true: Callable[[list[str]], Any]) -> list[str]:
        """Wait until `true` holds for the lines, and return them."""
        wait_until(lambda: true(self.lines) or self.process.poll() is not None, TIMEOUT)
        assert true(self.lines), (self.lines[-20:], self.process.stderr and self.process.stderr.read())
        return self.lines

    def wait_for(self, *words: str) -> list[str]:
        """Wait for a line with all these words, and return the lines."""
        return self.wait(lambda lines: any(all(word in line for word in words) for line in list(lines)))

    def wait_count(self, number: int) -> list[str]:
        return self.wait(lambda lines: len(lines) >= number)

    def ctrl_c(self) -> tuple[int, str]:
        """Interrupt the process. Returns its exit code and stderr."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(TIMEOUT)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def followers() -> Iterator[Callable[..., Follower]]:
    """Yield a function that starts followers; the running ones are ended afterwards."""
    started: list[Follower] = []

    def start(environ: Mapping[str, str], *arguments: str) -> Follower:
        started.append(Follower(environ, *arguments))
        return started[-1]

    try:
        yield start
    finally:
        for follower in started:
            follower.close()
