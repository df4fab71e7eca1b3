"""Ending a daemon, and telling the service manager how it stands."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

AT_ONCE = 128
"""A process that was told twice ends with this plus the signal's number, as if the signal had killed it."""


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGTERM or SIGINT; the second ends the process at once.

    A terminal that closes (SIGHUP) stops it too, but hurries nobody: one may come from the shell and one from the
    kernel. Under nohup it is ignored and stays so.
    """
    told = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if told:
            os._exit(AT_ONCE + number)
        told = True
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: stop())


def notify(state: str) -> None:
    """Tell systemd (`READY=1`, `STOPPING=1`) when it asked for it with NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            # A service manager that doesn't listen is no reason not to serve.
            pass
