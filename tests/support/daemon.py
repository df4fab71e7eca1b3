"""`alertctl serve` as a process, and a caller with a token."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import urllib3
from sqlalchemy import Connection, select

from alertctl.db import Store
from alertctl.outbox.tables import delivery
from alertctl.sandbox import Sandbox
from alertctl.users import create_token, parse_role
from tests.support import cli_process
from tests.support.waiting import TIMEOUT, wait_until

BASE = "/api/v1/notifications"


@dataclass
class Daemon:
    """An `alertctl serve` process on a free port; `log` is what it has written to stderr."""

    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "alertctl", "serve", "--port", "0", *self.arguments]
        self.process = cli_process.Popen(
            command, env={**os.environ, **self.environment}, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    @property
    def url(self) -> str:
        def address() -> str | None:
            assert self.process.poll() is None, "".join(self.log)
            match = re.search(r"serves on (http://[^\s\"]+)", "".join(self.log))
            return match[1] if match else None

        return str(wait_until(address))

    def signal_process(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def suspend_between_transactions(self, store: Store) -> None:
        """Stop the process (SIGSTOP) at a moment at which it holds no lock of the database. SIGCONT wakes it."""
        with ThreadPoolExecutor(1) as thread:
            while True:
                self._suspend()
                write = thread.submit(store.write, _lock_deliveries)
                if wait([write], timeout=1).done:
                    return
                self.signal_process(signal.SIGCONT)
                write.result()

    def _suspend(self) -> None:
        """Stop the process and wait until each of its threads has stopped, which may take a while on a busy machine."""
        self.signal_process(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "".join(self.log)

    def wait_for_exit(self, timeout: float = TIMEOUT) -> int:
        code = self.process.wait(timeout)
        self._reader.join()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stderr:
            self.process.stderr.close()


def _lock_deliveries(connection: Connection) -> None:
    """Lock SQLite's file, or all of Postgres's rows, until the transaction ends."""
    connection.execute(select(delivery.c.id).with_for_update()).all()


@dataclass
class Caller:
    """Calls the API of a daemon with an admin's token."""

    token: str
    pool: urllib3.PoolManager

    def __call__(self, daemon: Daemon, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return the status and the body, JSON decoded."""
        head = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        url = daemon.url + (path if path.startswith("/") else f"{BASE}/{path}")
        reply = self.pool.request(method, url, json=body, headers=head, timeout=TIMEOUT, retries=False)
        is_json = "json" in reply.headers.get("content-type", "")
        return reply.status, json.loads(reply.data) if is_json else reply.data.decode()


@pytest.fixture
def settings(database_url: str, sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a daemon that sends to the sandbox without rate limits and retries at once."""
    return sandbox.settings() | {
        "DATABASE_URL": database_url,
        "RETRY_SCHEDULE": "50ms " * 20,
        "SLACK_PER_SECOND": "0",
        "ALERTCTL_LEASE": "2",
        "ALERTCTL_DEADLINE": "5",
    }


@pytest.fixture
def serve(settings: dict[str, str]) -> Iterator[Callable[..., Daemon]]:
    started: list[Daemon] = []

    def start(*arguments: str, **environment: str) -> Daemon:
        started.append(Daemon(settings | environment, arguments))
        return started[-1]

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def call(store: Store) -> Iterator[Caller]:
    now = datetime.now(UTC)
    secret = store.write(lambda c: create_token(c, "admin@corp.example", parse_role("admin").value, None, now))[1]
    with urllib3.PoolManager(maxsize=40) as pool:
        yield Caller(secret, pool)
