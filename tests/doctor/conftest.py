from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertctl.sandbox import Sandbox
from tests.support.doctor import harness

__all__ = ["harness"]


@pytest.fixture(scope="session")
def tls_sandbox() -> Iterator[Sandbox]:
    with Sandbox(tls=True) as running:
        yield running
