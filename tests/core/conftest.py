"""A dispatcher as `dispatch` and as `serve` run it."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from alertctl.db import Writer
from alertctl.dispatcher import DispatchCounts
from alertctl.ids import new_id
from core.lab import dispatching, settings_for, wall_clock


@pytest.fixture
def start() -> datetime:
    """A moment that no id of this process is younger than: ids only grow, whatever the clock says."""
    milliseconds = int(new_id(datetime(2026, 3, 2, tzinfo=UTC)).replace("-", "")[:12], 16)
    return datetime.fromtimestamp(milliseconds // 1000 + 1, UTC)


@pytest.fixture
def run(store, sandbox, database_url, clock):
    """Send what is due by the standing clock, with these settings."""

    def once(event_id=None, **settings) -> DispatchCounts:
        with dispatching(store, settings_for(sandbox, database_url, **settings), clock) as dispatcher:
            return dispatcher.run_once(event_id)

    return once


@pytest.fixture
def daemon(store, sandbox, database_url):
    """A dispatcher that has been started, as a daemon starts it: on one writer."""

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
