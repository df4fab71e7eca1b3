"""Commands for shell scripts, which start their processes as `cli_process` does: `alertctl` and other Python programs.

The command is a small client: it passes its arguments, environment, folder and streams to a thread of the test's
process, passes signals on to the process that the thread starts, and ends with its exit code. That process is not a
child of the shell: a command that looks for its parent (`--install-completion`) needs a real one.
"""

from __future__ import annotations

import atexit
import marshal
import os
import select
import shlex
import shutil
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.support import cli_process
from tests.support.fork_server import MAX_REQUEST

CLIENT = """\
import marshal, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect({address!r})
# marshal is built in: json takes 8 ms of CPU time to load.
request = marshal.dumps(dict(arguments=sys.argv[1:], environ=dict(os.environ), cwd=os.getcwd()))
socket.send_fds(connection, [request], [0, 1, 2])
process_id = int(connection.recv(64))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(process_id, number))
code = int(connection.recv(64))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def write_command(path: Path, *options: str) -> Path:
    """Write a command that runs Python with these options, `alertctl` without any. Returns the path."""
    client = ["-IS", str(_client())] if cli_process.can_fork() else []
    return write_program(path, sys.executable, *client, *(options or ("-m", "alertctl")))


def write_program(path: Path, *command: str) -> Path:
    """Write a shell script that runs this command with the script's own arguments. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)
    return path


@cache
def _client() -> Path:
    """Start to listen. Returns the path of the client's program."""
    folder = Path(tempfile.mkdtemp(prefix="alertctl-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / "socket"))
    listener.listen(128)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    client = folder / "client.py"
    client.write_text(CLIENT.format(address=str(folder / "socket")))
    return client


def _accept(listener: socket.socket) -> None:
    while True:
        threading.Thread(target=_serve, args=(listener.accept()[0],), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    """Run one command. A client that was killed takes its process with it."""
    with connection, suppress(OSError):
        request, streams, _, _ = socket.recv_fds(connection, MAX_REQUEST, 3)
        command = marshal.loads(request)
        pipes = dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))
        arguments = [sys.executable, *command["arguments"]]
        process = cli_process.Popen(arguments, env=command["environ"], cwd=command["cwd"], **pipes)
        for stream in streams:
            os.close(stream)
        connection.send(str(process.pid).encode())
        ended = os.pidfd_open(process.pid)
        if connection.fileno() in select.select([connection.fileno(), ended], [], [])[0]:
            process.kill()
        os.close(ended)
        connection.send(str(process.wait()).encode())
