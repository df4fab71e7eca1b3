"""`alertctl` for the shell sessions: forked from a process that has loaded its modules, which saves most of a start.

A session's `alertctl` is a small client (`python forking.py SOCKET ARGUMENTS…`, standard library only). It passes its
arguments, environment, folder and streams to the server, forwards signals, and ends with the command's exit code.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

LIMIT = 200_000
"""Bytes of arguments and environment."""


def call(path: str, arguments: list[str]) -> int:
    """Run a command by the server and return its exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(path)
        request = {"argv": ["alertctl", *arguments], "environ": dict(os.environ), "cwd": os.getcwd()}
        socket.send_fds(line, [json.dumps(request).encode()], [0, 1, 2])
        pid = int(line.recv(20))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        # Python repeats an interrupted call after the handler.
        return int(line.recv(20))


def serve(path: str) -> None:
    """Accept calls until the process is killed. Each is answered by a child with the pid and the exit code."""
    _load()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(50)
        print("ready", flush=True)
        while True:
            line, _ = listener.accept()
            with line:
                if not os.fork():
                    listener.close()
                    _answer(line)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(line: socket.socket) -> None:
    """Fork the command, report it to the caller, and end."""
    request, descriptors, _, _ = socket.recv_fds(line, LIMIT, 3)
    pid = os.fork()
    if not pid:
        line.close()
        _become(json.loads(request), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    line.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        line.send(str(os.waitstatus_to_exitcode(status) & 255).encode())
    os._exit(0)


def _load() -> None:
    """Import what commands import when they run."""
    import jinja2
    import sendgrid.helpers.mail
    import slack_sdk.models.blocks
    import sqlalchemy.dialects.sqlite

    import alertctl.channels.email.smtp
    import alertctl.cli.main
    import alertctl.client.local
    import alertctl.client.remote

    assert all((jinja2, sendgrid, slack_sdk, sqlalchemy, alertctl))


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Be `alertctl …` with these three streams."""
    import runpy

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    sys.argv = request["argv"]
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = os.fdopen(0, closefd=False, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", 1 if unbuffered else -1, closefd=False, encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", 1, closefd=False, encoding="utf-8", errors="backslashreplace")
    try:
        runpy.run_module("alertctl", run_name="__main__", alter_sys=True)
        code: Any = 0
    except SystemExit as end:
        code = end.code
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    sys.exit(call(sys.argv[1], sys.argv[2:]))
