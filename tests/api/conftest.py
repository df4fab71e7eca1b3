from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.db import Store, upgrade
from tests.support.api_server import ApiServer, running


@pytest.fixture
def api(store: Store) -> Iterator[ApiServer]:
    """An API on an empty database of the test's own, of each kind."""
    with running(store) as started:
        yield started


@pytest.fixture(scope="session")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One API for requests that are refused before any database is asked: nothing in it ever changes."""
    path: Path = tmp_path_factory.mktemp("api") / "alertctl.db"
    store = Store(f"sqlite:///{path}")
    upgrade(store)
    with running(store) as started:
        yield started
    store.close()
