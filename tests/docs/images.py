"""Write docs/images: the output of real commands in the sandbox, and messages. `scripts/images` runs it."""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from alertctl.sandbox import Sandbox
from tests.docs.message_images import write_message_images, write_thread_image
from tests.ops.checkout import ROOT

FOLDER = ROOT / "docs" / "images"
WIDTH = 88
ROLLBACK = "--set feature_flag=checkout-v3 --set environment=production --set metric=error_rate"
SENT = (
    f"--event safety_rollback {ROLLBACK} --set value=0.0714 --set threshold=0.05",
    "--event rollout_advance --set feature_flag=dark-mode --set to_percentage=50",
    "--event experiment_lifecycle --set experiment=new-cta --set action=completed --set winner=variant-b",
    "--event generic_alert --title 'Disk almost full' --to slack:#missing",
)
"""The options of `alertctl send` for the events of the pictures' log."""
FLAG = "--set feature_flag=search-v2 --set environment=production"
THREAD = (
    f"--event rollout_advance {FLAG} --set to_percentage=10 --set occurred_at=2026-03-02T13:05:00Z",
    f"--event rollout_advance {FLAG} --set to_percentage=50 --set occurred_at=2026-03-02T13:35:00Z",
    f"--event safety_rollback {FLAG} --set metric=error_rate --set value=0.07 --set occurred_at=2026-03-02T13:48:00Z",
)
"""The options of `alertctl send` for the events of a thread."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, Sandbox() as sandbox:
        environ = {**sandbox.settings(), **_terminal(Path(home)), "DATABASE_URL": f"sqlite:///{home}/alertctl.db"}
        for options in SENT:
            _run(f"send {options}", environ)
        failed = _run("log --status failed -o id", environ).strip()[-8:]
        for name, command in (("log", "log"), ("log-show", f"log show {failed}"), ("doctor", "doctor slack")):
            _write(name, command, _run(command, environ))
        _write("demo", "demo", _run("demo", _terminal(Path(home))))
        write_message_images(lambda command: _run(command, environ))
        for options in THREAD:
            _run(f"send {options} --channel slack", environ)
        # A root is edited at most once in 5 s.
        time.sleep(6)
        _run("dispatch --once", environ)
        root = sandbox.slack.edits[-1]
        replies = [message.payload for message in sandbox.slack.messages if message.thread_ts == root.ts]
        write_thread_image(root.payload, replies)


def _terminal(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLUMNS": str(WIDTH),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }


def _run(command: str, environ: dict[str, str]) -> str:
    """Return what `alertctl COMMAND` prints on a terminal, colours included."""
    screen, terminal = pty.openpty()
    arguments = [sys.executable, "-m", "alertctl", *shlex.split(command)]
    with subprocess.Popen(arguments, env=environ, cwd=environ["HOME"], stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        output = b"".join(iter(lambda: _read(screen), b""))
    os.close(screen)
    if process.returncode:
        raise SystemExit(f"alertctl {command} failed: {output.decode()}")
    return output.decode().replace("\r\n", "\n")


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError:
        # Linux reports the end of a terminal's output as an error.
        return b""


def _write(name: str, command: str, output: str) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text(f"$ alertctl {command}", style="bold"))
    console.print(Text.from_ansi(output.rstrip("\n")), soft_wrap=True)
    svg = console.export_svg(title="alertctl", unique_id=f"alertctl-{name}")
    # A picture loads no font from another server.
    svg = re.sub(r"(?s)@font-face \{.*?\}\s*", "", svg).replace("Fira Code, monospace", "monospace")
    (FOLDER / f"{name}.svg").write_text(svg, "utf-8")
    print(f"docs/images/{name}.svg")


if __name__ == "__main__":
    main()
