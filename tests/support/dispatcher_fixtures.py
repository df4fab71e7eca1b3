"""Fixtures that run a dispatcher as `dispatch` and as `serve` do."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from alertctl.db import Writer
from alertctl.ids import new_id
from alertctl.schemas import Dispatched
from tests.support.deliveries import dispatching, settings_for, wall_clock


@pytest.fixture
def start() -> datetime:
    """Return a time after all ids of this process: ids only grow, at any clock."""
    milliseconds = int(new_id(datetime(2026, 3, 2, tzinfo=UTC)).replace("-", "")[:12], 16)
    return datetime.fromtimestamp(milliseconds // 1000 + 1, UTC)


@pytest.fixture
def run(store, sandbox, database_url, clock):
    """Return a function that sends what is due by the fixed clock, with given settings."""

    def once(event_id=None, **settings) -> Dispatched:
        with dispatching(store, settings_for(sandbox, database_url, **settings), clock) as dispatcher:
            return dispatcher.run_once(event_id)

    return once


@pytest.fixture
def daemon(store, sandbox, database_url):
    """Return a context manager that starts a dispatcher as a daemon does, on one writer."""

    @contextmanager
    def started(clock=wall_clock, **settings):
        writer = Writer(store)
        with dispatching(writer, settings_for(sandbox, database_url, **settings), clock) as dispatcher:
            dispatcher.start()
            try:
                yield dispatcher
            finally:
                dispatcher.stop(15)
                writer.close()

    return started
