"""The process from which `cli_process` forks: it has loaded all of alertctl.

Each request names a program or the arguments of `alertctl`, and brings the three streams. The answer is a process id.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import platform
import runpy
import signal
import socket
import sys
import time
from typing import Any

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
    "typer._click.decorators",
)
MAX_REQUEST = 200_000
CLONE_PARENT = 0x8000
"""Flag of clone(2): the new process is a sibling, a child of the test's process, which can wait for it."""
CLONE_NUMBERS = {"x86_64": 56, "aarch64": 220}
"""Number of the system call clone(2), by machine."""
_exit_codes: list[Any] = []


def main() -> None:
    atexit.register(_skip_teardown)
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    gc.collect()
    gc.freeze()
    while True:
        request, streams, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not request:
            return
        child = _fork_sibling()
        if not child:
            break
        requests.send(str(child).encode())
        for descriptor in streams:
            os.close(descriptor)
    requests.close()
    _run(json.loads(request), streams)


def _fork_sibling() -> int:
    """Do as `os.fork` does, but give the new process the parent of this one.

    A process between the two, which ends at once, has the same effect and takes 8 ms of CPU time.
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    clone, flags = CLONE_NUMBERS[platform.machine()], CLONE_PARENT | signal.SIGCHLD
    child = int(ctypes.PyDLL(None).syscall(clone, flags, 0, 0, 0, 0))
    assert child >= 0, "clone(2) failed"
    if child:
        python.PyOS_AfterFork_Parent()
    else:
        python.PyOS_AfterFork_Child()
    return child


def _load() -> None:
    """Import all of alertctl, and all that it imports late; build its commands."""
    import alertctl

    modules = [module.name for module in pkgutil.walk_packages(alertctl.__path__, "alertctl.")]
    for name in (*modules, *LATE_IMPORTS):
        if name != "alertctl.__main__" and not name.startswith("alertctl.migrations."):
            importlib.import_module(name)
    dict(sys.modules["alertctl.cli.registry"].Commands())


def _run(request: dict[str, Any], streams: list[int]) -> None:
    """Do what Python does after its start, with these three streams."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    for change, value in ((os.setgroups, "groups"), (os.setgid, "group"), (os.setuid, "user")):
        if request[value] is not None:
            change(request[value])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Their encoding is the fork server's.
    raw_input = io.BufferedReader(io.FileIO(0, closefd=False))
    sys.stdin = io.TextIOWrapper(raw_input, sys.stdin.encoding, sys.stdin.errors)
    sys.stdout = _open_output(1, sys.stdout, line_buffering=os.isatty(1))
    sys.stderr = _open_output(2, sys.stderr, line_buffering=True)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.path[:0] = [request["cwd"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
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


def _open_output(number: int, like: Any, *, line_buffering: bool) -> io.TextIOWrapper:
    raw_output = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(
        raw_output, like.encoding, like.errors, line_buffering=line_buffering, write_through=unbuffered
    )


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


if __name__ == "__main__":
    main()
