from collections.abc import Iterator

import pytest

from alertctl.store import Store
from tests.api.lab import Lab, running


@pytest.fixture
def lab(store: Store) -> Iterator[Lab]:
    with running(store) as started:
        yield started
