from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.sandbox import Sandbox
from doctor.clinic import Clinic


@pytest.fixture(scope="session")
def tls_sandbox() -> Iterator[Sandbox]:
    with Sandbox(tls=True) as running:
        yield running


@pytest.fixture
def clinic(sandbox: Sandbox, tmp_path: Path) -> Clinic:
    return Clinic(sandbox, tmp_path)
