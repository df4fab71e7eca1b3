"""Start processes of `alertctl` cheaply: fork them from a process that has already loaded the modules.

A forked process is a real one, with its own environment, folder, files and signals. It is a child of the test's
process, so `subprocess` waits for it as for any other. A fork takes a fraction of the CPU time of a start.

`python -m alertctl …` and `python -c PROGRAM …` are forked on Linux where the environment starts Python as ours does.
`subprocess` starts all others, and with `pytest --real-processes` all. Tests of the start itself use `subprocess`.
"""

from __future__ import annotations

import array
import atexit
import inspect
import json
import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.support import fork_server

if TYPE_CHECKING:
    import pytest

STARTUP_VARIABLES = ("LANG", "LC_", "PYTHON", "TYPER", "_TYPER")
"""Beginnings of the variables that are read while Python starts or modules load."""
HARMLESS_VARIABLES = ("PYTHONPATH", "PYTHONUNBUFFERED")
FORKABLE_OPTIONS = {"stdin", "stdout", "stderr", "text", "encoding", "bufsize", "cwd", "env"}
FORKABLE_OPTIONS |= {"user", "group", "extra_groups"}
_real_processes = False
_start_lock = threading.Lock()
"""Held while the fork server answers a request."""
# CPython 3.11 to 3.14: everything of a start but the pipes.
_execute_child = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--real-processes", action="store_true", help="start alertctl without the fork server")


def pytest_configure(config: pytest.Config) -> None:
    global _real_processes
    _real_processes = bool(config.getoption("--real-processes"))


def can_fork() -> bool:
    return sys.platform == "linux" and platform.machine() in fork_server.CLONE_NUMBERS and not _real_processes


def Popen(arguments: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """Return a `subprocess.Popen` with a forked process, if it can be forked."""
    is_python = arguments[:2] == [sys.executable, "-c"] or arguments[:3] == [sys.executable, "-m", "alertctl"]
    starts_alike = _startup(options.get("env") or os.environ) == _startup(os.environ)
    is_forkable = can_fork() and is_python and starts_alike and set(options) <= FORKABLE_OPTIONS
    return (_ForkedProcess if is_forkable else subprocess.Popen)(arguments, **options)


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
    ran = subprocess.CompletedProcess(arguments, process.returncode, out, err)
    if check:
        ran.check_returncode()
    return ran


def _startup(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return all of an environment that Python reads at its start."""
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    names = [name for name in environ if name.startswith(STARTUP_VARIABLES[2:]) and name not in HARMLESS_VARIABLES]
    return {
        **{name: environ[name] for name in names},
        # Python takes C for UTF-8.
        "locale": "UTF-8" if locale in ("C", "POSIX") or locale.upper().endswith(("UTF-8", "UTF8")) else locale,
    }


class _ForkedProcess(subprocess.Popen[Any]):
    def _execute_child(self, *values: Any) -> None:
        call = inspect.signature(_execute_child).bind(self, *values).arguments
        arguments = [os.fsdecode(argument) for argument in call["args"]]
        is_program = arguments[1] == "-c"
        request = {
            "program": arguments[2] if is_program else None,
            "arguments": arguments[3:],
            "environ": dict(call["env"] or os.environ),
            "cwd": os.fsdecode(call["cwd"] or os.getcwd()),
            "groups": call["gids"],
            "group": call["gid"],
            "user": call["uid"],
        }
        streams = [call["p2cread"], call["c2pwrite"], call["errwrite"]]
        inherited = [number if stream == -1 else stream for number, stream in enumerate(streams)]
        entries = request["environ"].get("PYTHONPATH", "").split(os.pathsep)
        modules = os.pathsep.join(entry for entry in entries if entry not in sys.path)
        self.pid = _fork(modules, json.dumps(request).encode(), inherited)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in pipes))  # type: ignore[attr-defined]


def _fork(modules: str, request: bytes, streams: list[int]) -> int:
    """Return the id of a new process with these streams, which imports from these folders first."""
    assert len(request) <= fork_server.MAX_REQUEST
    with _start_lock:
        server = _connection(modules)
        server.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))])
        return int(server.recv(64))


@cache
def _connection(modules: str) -> socket.socket:
    """Start the fork server."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # -P: this folder is not a place to import from.
    command = [sys.executable, "-P", fork_server.__file__, str(theirs.fileno())]
    environ = {name: value for name, value in os.environ.items() if name not in HARMLESS_VARIABLES}
    environ["PYTHONPATH"] = modules
    null = subprocess.DEVNULL
    server = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environ, stdin=null, stdout=null)
    theirs.close()
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours
