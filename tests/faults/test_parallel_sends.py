"""Many `send` processes at once on one SQLite file, as `xargs -P` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alertctl.db import Store
from alertctl.sandbox import Sandbox
from tests.support import cli_process
from tests.support.database_faults import arrived, counted


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file_exists", [False, True])
def test_parallel_sends_on_one_file_are_each_recorded_and_sent_once(
    tmp_path: Path, request, sandbox: Sandbox, long, file_exists
) -> None:
    """With --long they are 500, 100 at a time, and start as a shell starts them."""
    if long and file_exists:
        pytest.skip("the empty file is the harder case; each takes minutes")
    count, at_once = (500, 100) if long else (8, 8)
    url = request.getfixturevalue("sqlite_url") if file_exists else f"sqlite:///{tmp_path / 'new.db'}"
    environment = {**os.environ, **sandbox.settings(), "DATABASE_URL": url}

    def send(number: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "alertctl", "send", "--strict", "--event", "generic_alert", "--title", "x"]
        run = subprocess.run if long else cli_process.run
        return run(
            [*command, "--to", f"slack:#n{number}"], env=environment, capture_output=True, text=True, timeout=600
        )

    with ThreadPoolExecutor(at_once) as threads:
        ran = list(threads.map(send, range(count)))
    assert Counter(process.returncode for process in ran) == {0: count}, [
        process.stderr for process in ran if process.returncode
    ]
    progress = ("recorded ", "still waiting ")
    warnings = [line for process in ran for line in process.stderr.splitlines() if not line.startswith(progress)]
    assert warnings == []
    assert arrived(sandbox) == {f"#n{number}": 1 for number in range(count)}
    store = Store(url)
    assert counted(store, "status = 'success'") == counted(store) == count
    assert counted(store, "outcome = 'success'", "attempt") == counted(store, table="attempt") == count
    store.close()
    assert not list(Path(os.environ["XDG_STATE_HOME"]).rglob("*.json")), "nothing is spooled"
