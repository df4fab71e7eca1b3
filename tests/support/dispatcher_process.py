"""A process that has imported everything and forks dispatching children on request.

A test can kill many of them: each costs milliseconds instead of seconds of imports. It reads lines from stdin: `go`
forks a child, `wait` waits for its end. It answers each with a line: the child's process id.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


class ForkServer:
    """The test's interface to the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def dispatcher(self) -> int:
        """Start a dispatching child. Returns its process id."""
        return int(self._ask("go"))

    def wait_for_end(self) -> None:
        """Wait for the end of the child that was killed."""
        self._ask("wait")

    def _ask(self, word: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the forking process has ended"
        return answer


@contextmanager
def fork_server(settings: Mapping[str, str]) -> Iterator[ForkServer]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(__file__).parents[2]
    environ = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, __file__, json.dumps(dict(settings))], env=environ, **pipes) as process:
        yield ForkServer(process)
        process.stdin.close()


def main() -> None:
    settings = json.loads(sys.argv[1])
    child = 0
    _import()
    for line in sys.stdin:
        if line.strip() == "go":
            child = os.fork()
            if not child:
                _dispatch(settings)
        else:
            os.waitpid(child, 0)
        print(child, flush=True)


def _import() -> None:
    import psycopg
    import slack_sdk

    assert psycopg, slack_sdk


def _dispatch(environ: Mapping[str, str]) -> None:
    from alertctl.channels import build
    from alertctl.config import load
    from alertctl.db import Store, Writer
    from alertctl.dispatcher import Dispatcher, DispatchOptions

    settings = load(environ, cwd=Path("/nonexistent"))
    writer = Writer(Store(settings.database.url))
    Dispatcher(writer, build(settings), DispatchOptions.of(settings), lambda: datetime.now(UTC)).start()
    time.sleep(120)
    os._exit(1)


if __name__ == "__main__":
    main()
