"""Run the command line in this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import typer
from typer.testing import CliRunner, Result

from alertctl.cli.main import app
from tests.support import cli_process

Run = Callable[..., Result]
DELIVERY_FIELDS = tuple(
    "id event_type channel to status error attempts next_attempt_at created_at event_id".split()  # noqa: SIM905
)
"""The fields that every delivery has as JSON, in their order."""
COMMAND = [sys.executable, "-m", "alertctl"]
PRINT_MODULES = """
import atexit, sys
from alertctl.cli import run
sys.argv[0] = "alertctl"
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
run()
"""


def run(*arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002
    """Run a command in this process.

    `CliRunner.invoke` does the same, but builds the root command for each call: 2 ms of CPU time.
    """
    runner = CliRunner()
    exit_code = 0
    exception: BaseException | None = None
    with runner.isolation(input) as (stdout, stderr, output):
        try:
            _root_command().main(arguments)
        except SystemExit as ended:
            exit_code, exception = int(ended.code or 0), ended if ended.code else None
        except Exception as error:
            exit_code, exception = 1, error
        sys.stdout.flush()
        sys.stderr.flush()
        streams = stdout.getvalue(), stderr.getvalue(), output.getvalue()
    return Result(runner, *streams, None, exit_code, exception)


@cache
def _root_command() -> Any:
    return typer.main.get_command(app)


def data(*arguments: str, input: str | bytes | None = None) -> Any:  # noqa: A002
    """Run a command, which must succeed, and return its JSON."""
    ran = run(*arguments, "-o", "json", input=input)
    assert ran.exit_code == 0, ran.stderr
    return json.loads(ran.stdout)


def messages(stderr: str) -> list[tuple[str, str]]:
    """Return level and text of each message of a command in JSON mode. Each line of its stderr must be one."""
    parsed = [json.loads(line) for line in stderr.splitlines()]
    assert all(list(message) == ["level", "message"] for message in parsed)
    return [(message["level"], message["message"]) for message in parsed]


def process(*arguments: str | bytes, **more: Any) -> subprocess.CompletedProcess[str]:
    return cli_process.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **more)


def start(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    return cli_process.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, **more
    )


def unmeasured() -> dict[str, str]:
    """Return the environment in which a process is not measured with `--cov`: that loads modules and writes a file."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def loaded_modules(*arguments: str) -> set[str]:
    """Run a command, which must succeed, and return the modules that it loaded."""
    command = [sys.executable, "-c", PRINT_MODULES, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=unmeasured())
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.splitlines()[-1].split())


def dispatched() -> Any:
    """Run `dispatch --once` until it attempts something, and return its JSON."""
    for _ in range(100):
        done = data("dispatch", "--once")
        if done["attempted"]:
            return done
        time.sleep(0.1)
    raise AssertionError("nothing fell due within 10 s")
