"""A source of each kind, and databases to copy it to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.database_contents import opened


@pytest.fixture
def new_file(sqlite_template: Path, tmp_path: Path):
    """Makes an empty, migrated SQLite database of that name; its address."""

    def made(name: str) -> str:
        return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / name)}"

    return made


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.long), "postgres"])
def target(request, new_file):
    """An empty database of each kind, migrated."""
    lite = request.param == "sqlite"
    with opened(new_file("target.db") if lite else request.getfixturevalue("second_postgres_url")) as store:
        yield store


@pytest.fixture
def other(request, store, new_file):
    """An empty database of the other kind than the source, migrated."""
    with opened(request.getfixturevalue("postgres_url") if store.is_sqlite else new_file("other.db")) as made:
        yield made


@pytest.fixture
def lite(new_file):
    """An SQLite source."""
    with opened(new_file("alertctl.db")) as store:
        yield store


@pytest.fixture
def third(new_file):
    """One more SQLite database."""
    with opened(new_file("third.db")) as store:
        yield store
