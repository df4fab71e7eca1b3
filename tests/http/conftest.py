"""Fixtures for the HTTP client. This folder is not a package: it would hide the standard library's `http`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertctl.http.client import HttpClient
from alertctl.sandbox import Sandbox
from tests.support.raw_server import RawServer, raw_server


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as running:
        yield running


@pytest.fixture
def tls_sandbox() -> Iterator[Sandbox]:
    with Sandbox(tls=True) as running:
        yield running


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(10.0)
    yield made
    made.close()
