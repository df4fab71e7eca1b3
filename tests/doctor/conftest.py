from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.sandbox import Sandbox
from tests.support.doctor import DoctorHarness


@pytest.fixture(scope="session")
def tls_sandbox() -> Iterator[Sandbox]:
    with Sandbox(tls=True) as running:
        yield running


@pytest.fixture
def harness(sandbox: Sandbox, tmp_path: Path) -> DoctorHarness:
    return DoctorHarness(sandbox, tmp_path)
