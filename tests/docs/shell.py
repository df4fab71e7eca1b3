"""A bash session with the sandbox's settings, in which a page's blocks run."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from alertctl.sandbox import Sandbox
from tests.docs.compare import same_output
from tests.docs.pages import Command
from tests.ops.conftest import environment, serving, token
from tests.support.cli_command import write_command, write_program

TIMEOUT = 60.0
"""Maximum seconds of one command."""
SETTLING = 10.0
"""Maximum seconds in which a page's reading commands are repeated until they print what it shows: a daemon works at
the same time."""
PORT = re.compile(r"(?<=127\.0\.0\.1:)8000\b|(?<=localhost:)8000\b")
LONG_RUNNING = re.compile(r"alertctl (serve|sandbox|log (-f|--follow))\b")
"""Commands that run until Ctrl-C: they keep running until the page ends."""
READING = re.compile(r"(alertctl (log|log show|log stats|status|spool list)( -| [^a-z]|$)|curl (?!.* -(d|X|sN|N) ))")
"""Commands that may be repeated, because they change nothing."""
PORTS = {"serve": ("--port",), "sandbox": ("--slack-port", "--sendgrid-port", "--smtp-port")}
RUN_FILE = "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
CURL = "import sys; from tests.docs.curl import main; sys.exit(main())"
_MARK = "end of command"


class Shell:
    """One bash process. `port` is the port that stands for the pages' 8000."""

    def __init__(self, environ: dict[str, str], folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._settling = SETTLING
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            env=environ,
            cwd=_empty(folder / "work"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # The session's own group: bash and what the page's commands left running.
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()

    @property
    def has_ended(self) -> bool:
        return self._bash.poll() is not None

    def run(self, script: str, *, strict: bool = False) -> tuple[int, str]:
        """Return exit code and output of a script. `strict`: under `set -eu`, where a failure ends the session."""
        file = self._folder / "script"
        file.write_text(PORT.sub(str(self._port), script), "utf-8")
        before, after = ("set -eu;", "set +eu;") if strict else ("", "")
        return self._answer(f"{before} . '{file}' </dev/null; status=$?; {after} printf '\\n{_MARK} %s\\n' $status\n")

    def _answer(self, line: str) -> tuple[int, str]:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(line.encode())
        self._bash.stdin.flush()
        output, deadline = b"", time.monotonic() + TIMEOUT
        while not (match := re.search(rf"\n{_MARK} (\d+)\n".encode(), output)):
            readable, _, _ = select.select([self._bash.stdout], [], [], max(0, deadline - time.monotonic()))
            if not readable:
                raise AssertionError(f"no end after {TIMEOUT:.0f} s: {output.decode()}")
            if not (part := os.read(self._bash.stdout.fileno(), 65536)):
                return self._bash.wait(TIMEOUT), output.decode()
            output += part
        return int(match[1]), output[: match.start()].decode()

    def check(self, example: Command) -> str:
        """Run a command of a console block. Return its output if that is not what the page shows, else ""."""
        if match := LONG_RUNNING.match(example.command):
            return self._start(example, match[1])
        started = time.monotonic()
        while True:
            _, output = self.run(example.command)
            if same_output(example.output, output):
                return ""
            if not READING.match(example.command) or time.monotonic() - started > self._settling:
                self._settling -= time.monotonic() - started
                return output or "(no output)"
            time.sleep(0.2)

    def _start(self, example: Command, name: str) -> str:
        """Start a command in the background and wait for what the page shows of its output."""
        options = [option for option in PORTS.get(name, ()) if option not in example.command]
        ports = " ".join(f"{option} {self._port if name == 'serve' else 0}" for option in options)
        screen = self._folder / f"{name.split()[0]}.txt"
        screen.touch()
        self.run(f"PYTHONUNBUFFERED=1 {example.command} {ports} >'{screen}' 2>&1 &")
        shown = _until(lambda: same_output(example.output, screen.read_text("utf-8"), beginning=True))
        return "" if shown else screen.read_text("utf-8") or "(no output)"


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + TIMEOUT
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


@contextmanager
def shell(folder: Path, *, daemon: bool, port: int) -> Iterator[Shell]:
    """Yield a session in an empty folder, with the sandbox's settings; with `daemon`, beside an `alertctl serve`."""
    home = _empty(folder / "home")
    with Sandbox() as sandbox:
        environ = environment(sandbox, home) | {"DATABASE_URL": f"sqlite:///{home}/log.db"}
        with ExitStack() as stack:
            if daemon:
                # Its address receives all email anyway, so its user is not another recipient.
                environ["ALERTCTL_TOKEN"] = token(environ, home, user=environ["NOTIFICATION_ADMIN_EMAILS"])
                port = int(stack.enter_context(serving(environ, home)).rpartition(":")[2])
            _write_programs(home / "bin")
            yield stack.enter_context(Shell(environ, folder, port))


def _write_programs(folder: Path) -> None:
    """Write `python3` and `python`, which know alertctl, `curl`, which slim images lack, and `run-block` for a file."""
    write_command(folder / "run-block", "-c", RUN_FILE)
    write_command(folder / "curl", "-c", CURL)
    for name in ("python3", "python"):
        write_program(folder / name, sys.executable)


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
