"""Start processes of `alertctl` cheaply: fork them from a server process that has already loaded the modules.

A forked process is a real one, with its own environment, folder, files and signals. It is a child of the test's
process, so `subprocess` waits for it as for any other. A fork takes a fraction of the CPU time of a start.

The commands are `python -m alertctl …` and `python -c PROGRAM …`. There is a fork server for each set of variables
that Python reads at its start. `pytest --real-processes` starts every process with a new interpreter instead, and so
does this module on other systems than Linux. Tests of the start itself use `subprocess`.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PR_SET_CHILD_SUBREAPER = 36
"""Option of prctl(2): orphans become children of this process."""
STARTUP_VARIABLES = ("LANG", "LC_", "PYTHON", "TYPER", "_TYPER")
"""Beginnings of the variables that are read while Python starts or modules load."""
UNBUFFERED = "PYTHONUNBUFFERED"
"""A variable of Python's start that a forked process heeds itself."""
LATE_IMPORTS = (
    "alembic.command",
    "alembic.config",
    "alembic.runtime.migration",
    "apscheduler.schedulers.background",
    "jinja2",
    "psycopg",
    "rich.table",
    "rich.text",
    "sendgrid.helpers.mail",
    "slack_sdk.models.blocks",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "typer._adapters",
    "typer._click.decorators",
)
MAX_REQUEST = 100_000
"""Bytes of arguments and environment. A process with more is not forked."""
MAX_REPLY = 64
StartupVariables = tuple[tuple[str, str], ...]
_DEFAULTS = {
    "preexec_fn": None,
    "pass_fds": (),
    "executable": None,
    "shell": False,
    "umask": -1,
    "start_new_session": False,
    "process_group": -1,
}
_real_processes = False
_exit_codes: list[Any] = []
_uses: Counter[StartupVariables] = Counter()
_start_lock = threading.Lock()
"""Held while this process adopts orphans."""
# CPython 3.11 to 3.14: everything of a start but the pipes.
_execute_child = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--real-processes", action="store_true", help="start alertctl without the fork server")


def pytest_configure(config: pytest.Config) -> None:
    global _real_processes
    _real_processes = bool(config.getoption("--real-processes"))


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` that forks `python -m alertctl` and `python -c PROGRAM`."""

    def _execute_child(self, *values: Any) -> None:
        call = inspect.signature(_execute_child).bind(self, *values).arguments
        request, startup = _request(call), _startup_variables(call["env"] or os.environ)
        if not (0 < len(request) <= MAX_REQUEST and _is_frequent(startup)):
            _execute_child(self, *values)
            return
        streams = [call["p2cread"], call["c2pwrite"], call["errwrite"]]
        inherited = [number if stream == -1 else stream for number, stream in enumerate(streams)]
        self.pid = _fork_server(startup).start(request, inherited)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in pipes))  # type: ignore[attr-defined]


def run(arguments: list[Any], **options: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` with a forked process."""
    timeout, data, check = options.pop("timeout", None), options.pop("input", None), options.pop("check", False)
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if data is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(arguments, **options) as process:
        try:
            out, err = process.communicate(data, timeout)
        except BaseException:
            process.kill()
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, out, err)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _request(call: dict[str, Any]) -> bytes:
    """Return the request to the fork server, or b"" for a process that cannot be forked."""
    arguments = [os.fsdecode(argument) for argument in call["args"]] if isinstance(call["args"], list) else []
    is_alertctl = arguments[:3] == [sys.executable, "-m", "alertctl"]
    is_program = len(arguments) > 2 and arguments[:2] == [sys.executable, "-c"]
    if (
        not (is_alertctl or is_program)
        or any(call[name] != value for name, value in _DEFAULTS.items())
        or not can_fork()
    ):
        return b""
    request = {
        "program": arguments[2] if is_program else None,
        "arguments": arguments[3:],
        "environ": dict(call["env"] or os.environ),
        "cwd": os.fsdecode(call["cwd"] or Path.cwd()),
        "groups": call["gids"],
        "group": call["gid"],
        "user": call["uid"],
    }
    return json.dumps(request).encode()


def _startup_variables(environ: Any) -> StartupVariables:
    items = ((str(name), str(value)) for name, value in environ.items())
    return tuple(sorted((name, value) for name, value in items if _is_startup_variable(name)))


def _is_startup_variable(name: str) -> bool:
    return name.startswith(STARTUP_VARIABLES) and name != UNBUFFERED


def _is_frequent(startup: StartupVariables) -> bool:
    """Return whether a fork server pays for these variables: its start costs as much as that of two processes."""
    _uses[startup] += 1
    return _uses[startup] > 2 or startup == _startup_variables(os.environ)


def _adopt_orphans(enabled: bool) -> bool:
    """Return whether the system supports it."""
    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(enabled), 0, 0, 0) == 0)


def can_fork() -> bool:
    return not _real_processes and _can_adopt()


@cache
def _can_adopt() -> bool:
    return sys.platform == "linux" and _adopt_orphans(True) and _adopt_orphans(False)


class ForkServer:
    """The test's side of the fork server."""

    def __init__(self, startup: StartupVariables) -> None:
        self._socket, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other_end:
            # -P: this file's folder is no place to import from.
            command = [sys.executable, "-P", __file__, str(other_end.fileno())]
            others = {
                name: value
                for name, value in os.environ.items()
                if not _is_startup_variable(name) and name != UNBUFFERED
            }
            self._process = subprocess.Popen(
                command,
                pass_fds=[other_end.fileno()],
                env=others | dict(startup),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(self, request: bytes, streams: list[int]) -> int:
        """Start a process with these streams. Returns its id."""
        with _start_lock:
            _adopt_orphans(True)
            try:
                self._socket.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))])
                reply = self._socket.recv(MAX_REPLY)
            finally:
                _adopt_orphans(False)
        assert reply, "the fork server has ended"
        return int(reply)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _fork_server(startup: StartupVariables) -> ForkServer:
    server = ForkServer(startup)
    atexit.register(server.close)
    return server


def main() -> None:
    """Run the fork server: answer each request with the id of a new process."""
    atexit.register(_skip_teardown)
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    gc.collect()
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not request:
            return
        read_end, write_end = os.pipe()
        parent = os.fork()
        if not parent:
            # This process ends at once, so that the next one becomes a child of the test.
            child = os.fork()
            if not child:
                break
            os.write(write_end, str(child).encode())
            os._exit(0)
        os.waitpid(parent, 0)
        requests.send(os.read(read_end, MAX_REPLY))
        for descriptor in (*descriptors, read_end, write_end):
            os.close(descriptor)
    requests.close()
    _run(json.loads(request), descriptors)


def _load() -> None:
    """Import all of alertctl, and what it imports only when it needs it; build its commands."""
    import alertctl

    modules = [module.name for module in pkgutil.walk_packages(alertctl.__path__, "alertctl.")]
    for name in (*modules, *LATE_IMPORTS):
        if name != "alertctl.__main__" and not name.startswith("alertctl.migrations."):
            importlib.import_module(name)
    # Builds each command.
    dict(sys.modules["alertctl.cli.registry"].Commands())


def _run(request: dict[str, Any], descriptors: list[int]) -> None:
    """Do what Python does after its start, with these three streams."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, 256)
    if request["groups"] is not None:
        os.setgroups(request["groups"])
    if request["group"] is not None:
        os.setgid(request["group"])
    if request["user"] is not None:
        os.setuid(request["user"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The locale is the fork server's, and so is the encoding.
    raw_input = io.BufferedReader(io.FileIO(0, closefd=False))
    streams = {
        "stdin": io.TextIOWrapper(raw_input, sys.stdin.encoding, sys.stdin.errors),
        "stdout": _open_output(1, sys.stdout, line_buffering=os.isatty(1)),
        "stderr": _open_output(2, sys.stderr, line_buffering=True),
    }
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.path.insert(0, request["cwd"])
    try:
        if request["program"] is None:
            sys.argv = ["alertctl", *request["arguments"]]
            runpy.run_module("alertctl", run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *request["arguments"]]
            exec(compile(request["program"], "<string>", "exec"), {"__name__": "__main__"})
        _exit_codes.append(0)
    except SystemExit as end:
        _exit_codes.append(end.code)
        raise


def _skip_teardown() -> None:
    """End here, after all other exit handlers.

    Python would now delete the modules, which copies the memory that is shared with the fork server: 55 ms of CPU time.
    """
    if _exit_codes and isinstance(_exit_codes[0], int):
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return
        os._exit(_exit_codes[0])


def _open_output(number: int, like: Any, *, line_buffering: bool) -> io.TextIOWrapper:
    raw_output = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
    unbuffered = bool(os.environ.get(UNBUFFERED))
    return io.TextIOWrapper(
        raw_output, like.encoding, like.errors, line_buffering=line_buffering, write_through=unbuffered
    )


if __name__ == "__main__":
    main()
