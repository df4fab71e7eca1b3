from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertctl.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running
