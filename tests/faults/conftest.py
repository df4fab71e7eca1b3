"""Daemons and a caller as tests/daemon has them; a Postgres of one's own that may be hurt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon.conftest import call, serve, settings
from tests.support import postgres
from tests.support.database_faults import Server

__all__ = ["call", "serve", "settings"]


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A Postgres that only this test knows."""
    folder = postgres.new_folder()
    try:
        server = Server(folder)
    except Exception as error:
        pytest.skip(f"no Postgres: {type(error).__name__}: {error}")
    yield server
    postgres.stop(folder)
