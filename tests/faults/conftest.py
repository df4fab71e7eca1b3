"""Daemons, a caller, and a Postgres server that a test may stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import postgres
from tests.support.daemon import call, serve, settings
from tests.support.database_faults import Server

__all__ = ["call", "serve", "settings"]


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Start a Postgres server for this test alone."""
    folder = postgres.new_folder()
    try:
        server = Server(folder)
    except Exception as error:
        pytest.skip(f"no Postgres: {type(error).__name__}: {error}")
    yield server
    postgres.stop(folder)
