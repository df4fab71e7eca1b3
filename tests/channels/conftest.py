from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertctl.sandbox import Sandbox
from tests.support.providers import ProviderHarness, harnesses


@pytest.fixture(scope="session")
def plain_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def sandbox(plain_sandbox: Sandbox) -> Iterator[Sandbox]:
    """A sandbox without TLS that remembers nothing of other tests."""
    yield plain_sandbox
    plain_sandbox.smtp.credentials = None
    plain_sandbox.clear()


@pytest.fixture(scope="session")
def tls_sandbox() -> Iterator[Sandbox]:
    with Sandbox(tls=True) as running:
        yield running


@pytest.fixture
def harness(sandbox: Sandbox, provider: str) -> ProviderHarness:
    return harnesses(sandbox)[provider]
