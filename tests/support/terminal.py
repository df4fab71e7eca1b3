"""Run a command on a real terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from dataclasses import dataclass

from rich.cells import cell_len

from tests.support import cli_process
from tests.support.cli import COMMAND

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Screen:
    """An exit code and the screen's lines, without colours."""

    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def width(self) -> int:
        """Return the width of the longest line in cells."""
        return max(cell_len(line) for line in self.lines)


def on_terminal(width: int, *arguments: str, typed: str = "", **environ: str) -> Screen:
    """Run a command on a terminal of so many columns; `typed` is typed there."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"} | environ
    process = cli_process.Popen([*COMMAND, *arguments], stdin=child, stdout=child, stderr=child, env=variables)
    os.close(child)
    os.write(parent, typed.encode())
    screen = _SEQUENCE.sub("", _read(parent).decode())
    os.close(parent)
    return Screen(process.wait(60), [line.rstrip("\r") for line in screen.split("\n")])


def _read(terminal: int) -> bytes:
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:
        # Linux reports this when no process has it open any more.
        pass
    return b"".join(pieces)
