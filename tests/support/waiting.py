"""Wait for a condition instead of a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

TIMEOUT = 60.0
"""Seconds. Generous: a busy machine makes a test slow, not wrong."""


def wait_until(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Wait until `condition` returns something truthy, and return that. Fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not {condition} after {timeout} s"
        time.sleep(0.01)
    return result
