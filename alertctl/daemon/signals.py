"""Handle signals, and notify the service manager of the daemon's state."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

KILLED = 128
"""A second signal ends the process with this plus its number, like a process that a signal has killed."""


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGTERM or SIGINT; the second ends the process at once.

    SIGHUP calls `stop` too, but never ends the process: a closing terminal may send two, one from the shell and one
    from the kernel. Under nohup it stays ignored.
    """
    stopping = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(KILLED + number)
        stopping = True
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: stop())


def notify_systemd(state: str) -> None:
    """Send a state (`READY=1`, `STOPPING=1`) to systemd when NOTIFY_SOCKET is set."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # Serve even if the service manager doesn't listen.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.sendto(state.encode(), address)
