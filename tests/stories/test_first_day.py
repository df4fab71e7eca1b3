"""Day one: README's own lines, typed by somebody who has nothing, into two real terminals."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.compare import same_output
from tests.docs.pages import examples
from tests.support.machines import Machine, free_port
from tests.support.waiting import wait_until

TYPED_ALONE = ("alertctl sandbox", "alertctl serve")
"""Commands that run until Ctrl-C, in a terminal of their own."""


class Terminal:
    """A command that goes on and what it has printed so far."""

    def __init__(self, machine: Machine, command: str) -> None:
        self._screen = machine.home / f"{command.split()[1]}.txt"
        with self._screen.open("wb") as screen:
            self.process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                env=machine.environ,
                cwd=machine.home,
                stdout=screen,
                stderr=subprocess.STDOUT,
            )

    def screen(self) -> str:
        return self._screen.read_text()

    def ctrl_c(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def newcomer(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "home")


@pytest.fixture
def terminals(newcomer: Machine) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        if terminal.process.poll() is None:
            terminal.process.kill()
        terminal.process.wait()


def test_the_first_command_of_readme_shows_alerts(newcomer: Machine):
    ran = newcomer.sh("alertctl demo")
    assert ran.returncode == 0, ran.stderr
    assert "checkout-v3" in ran.stdout


def test_the_tour_from_its_first_line_to_its_last(newcomer: Machine, terminals: list[Terminal]):
    tour = examples("README.md", "Tour")
    assert [step.command for step in tour if step.command in TYPED_ALONE] == list(TYPED_ALONE)
    sandbox = Terminal(newcomer, "alertctl sandbox --slack-port 0 --sendgrid-port 0 --smtp-port 0")
    terminals.append(sandbox)
    wait_until(lambda: "SMTP_PASSWORD" in sandbox.screen())
    pasted = "\n".join(line for line in sandbox.screen().splitlines() if line.startswith("export "))
    for example in tour:
        if example.command not in TYPED_ALONE:
            ran = newcomer.sh(f"{pasted}\nexec 2>&1\n{example.command}")
            assert ran.returncode == 0, f"{example.command}\n{ran.stdout}"
            assert same_output(example.output, ran.stdout), f"{example.command}\n{ran.stdout}"
    newcomer.settings |= dict(re.findall(r"export (\w+)='?([^'\n]*)'?", pasted))
    daemon = Terminal(newcomer, f"alertctl serve --port {free_port()}")
    terminals.append(daemon)
    wait_until(lambda: "alertctl serves on" in daemon.screen())
    newcomer.sh('alertctl send --queue --event generic_alert --title "sent by the daemon"')
    wait_until(lambda: sandbox.screen().count("sent by the daemon") >= 2)
    assert (daemon.ctrl_c(), sandbox.ctrl_c()) == (0, 0)
    everything = sandbox.screen()
    assert "checkout-v3" in everything
    assert "dark-mode" in everything
    assert "Disk almost full" not in everything
