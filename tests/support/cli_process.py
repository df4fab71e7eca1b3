"""`alertctl` as a process of its own, forked from one that has loaded its modules: that saves most of a start's CPU.

The process is a real one, with its own environment, folder, files and signals, and a child of the test's, so that
`subprocess` waits for it as for any other. What the start itself does is tested with `subprocess.Popen`; so is what
runs under another locale, and all of it where there is no Linux.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import inspect
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

MODULE = (sys.executable, "-m", "alertctl")
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): orphans become children of this process."""
KEPT = ("LANG", "LC_", "PYTHON", "TYPER", "_TYPER")
"""Variables that are read while Python starts or modules load: with others than the nursery's, it is a plain start."""
LONGEST = 100_000
"""Bytes of arguments and environment; what is longer starts plainly."""
TOLD_AT_MOST = 64
_EXECUTE = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_USUAL = {"preexec_fn": None, "pass_fds": (), "executable": None, "shell": False}


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` for commands that begin with MODULE."""

    def _execute_child(self, *given: Any) -> None:
        call = inspect.signature(_EXECUTE).bind(self, *given).arguments
        arguments = [os.fsdecode(one) for one in call["args"]] if isinstance(call["args"], list) else []
        environ = dict(call["env"] or os.environ)
        usual = all(call[name] == value for name, value in _USUAL.items())
        ours = tuple(arguments[: len(MODULE)]) == MODULE and _read_early(environ) == _read_early(os.environ)
        what = {"argv": arguments[len(MODULE) - 1 :], "environ": environ, "cwd": os.fsdecode(call["cwd"] or Path.cwd())}
        asked = json.dumps(what).encode() if usual and ours and _can_adopt() else b""
        if not 0 < len(asked) <= LONGEST:
            _EXECUTE(self, *given)
            return
        streams = (call["p2cread"], call["c2pwrite"], call["errwrite"])
        self.pid = _nursery().born(asked, [number if each == -1 else each for number, each in enumerate(streams)])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in pipes))  # type: ignore[attr-defined]


def run(arguments: list[Any], **more: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` by such a process."""
    timeout, given, check = more.pop("timeout", None), more.pop("input", None), more.pop("check", False)
    if more.pop("capture_output", False):
        more |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        more["stdin"] = subprocess.PIPE
    with Popen(arguments, **more) as process:
        try:
            out, err = process.communicate(given, timeout)
        except BaseException:
            process.kill()
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, out, err)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _read_early(environ: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in environ.items() if str(name).startswith(KEPT)}


def _adopt(orphans: bool) -> bool:
    """Whether the system does as it is told."""
    return ctypes.CDLL(None).prctl(SUBREAPER, int(orphans), 0, 0, 0) == 0


@cache
def _can_adopt() -> bool:
    return sys.platform == "linux" and _adopt(True) and _adopt(False)


class Nursery:
    """The process that has loaded everything, from the test's side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.cli_process", str(theirs.fileno())]
            environ = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.fspath, sys.path))}
            root = Path(__file__).parents[2]
            nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=root, env=environ, **nothing)

    def born(self, asked: bytes, streams: list[int]) -> int:
        """The process id of a new child of ours."""
        with self._lock:
            _adopt(True)
            try:
                self._line.sendmsg([asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))])
                answer = self._line.recv(TOLD_AT_MOST)
            finally:
                _adopt(False)
        assert answer, "the nursery has died"
        return int(answer)

    def close(self) -> None:
        self._line.close()
        self._process.wait()


@cache
def _nursery() -> Nursery:
    nursery = Nursery()
    atexit.register(nursery.close)
    return nursery


def main() -> None:
    line = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    gc.collect()
    gc.freeze()
    while True:
        asked, descriptors, _, _ = socket.recv_fds(line, LONGEST, 3)
        if not asked:
            return
        reading, writing = os.pipe()
        between = os.fork()
        if not between:
            # Whoever this process leaves behind becomes a child of the test.
            child = os.fork()
            if not child:
                break
            os.write(writing, str(child).encode())
            os._exit(0)
        os.waitpid(between, 0)
        line.send(os.read(reading, TOLD_AT_MOST))
        for each in (*descriptors, reading, writing):
            os.close(each)
    line.close()
    _become(json.loads(asked), descriptors)


def _load() -> None:
    import apscheduler.schedulers.background
    import jinja2
    import psycopg
    import sendgrid.helpers.mail
    import slack_sdk.models.blocks
    import sqlalchemy.dialects.postgresql.psycopg

    import alertctl.channels.email.smtp
    import alertctl.cli.main
    import alertctl.client.local
    import alertctl.client.remote
    import alertctl.daemon

    assert all((apscheduler, jinja2, psycopg, sendgrid, slack_sdk, sqlalchemy, alertctl))


def _become(what: dict[str, Any], descriptors: list[int]) -> None:
    """Be what `python -m alertctl …` is, with these three streams."""
    for number, each in enumerate(descriptors):
        os.dup2(each, number)
    os.closerange(3, 256)
    os.chdir(what["cwd"])
    os.environ.clear()
    os.environ.update(what["environ"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = what["argv"]
    # The nursery started under the same locale.
    reading = io.BufferedReader(io.FileIO(0, closefd=False))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(reading, sys.stdin.encoding, sys.stdin.errors)
    sys.stdout = sys.__stdout__ = _written(1, sys.stdout, line_buffering=os.isatty(1))
    sys.stderr = sys.__stderr__ = _written(2, sys.stderr, line_buffering=True)
    runpy.run_module("alertctl", run_name="__main__", alter_sys=True)


def _written(number: int, like: Any, **how: bool) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(raw, like.encoding, like.errors, write_through=at_once, **how)


if __name__ == "__main__":
    main()
