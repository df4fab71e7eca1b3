from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.db import Store, upgrade
from tests.support.api_server import Lab, running


@pytest.fixture
def lab(store: Store) -> Iterator[Lab]:
    """An API on an empty database of the test's own, of each kind."""
    with running(store) as started:
        yield started


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One API for requests that are refused before any database is asked: nothing in it ever changes."""
    path: Path = tmp_path_factory.mktemp("steady") / "alertctl.db"
    store = Store(f"sqlite:///{path}")
    upgrade(store)
    with running(store) as started:
        yield started
    store.close()
