"""A database's user and password that change in DATABASE_URL_FILE count for new connections."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from alertctl.config import load
from alertctl.config.secret_files import current_database_url
from alertctl.db import Store
from alertctl.errors import Unreachable


@pytest.fixture
def role(postgres_url):
    """A login of this test's own."""
    name, store = f"rotated_{uuid.uuid4().hex[:8]}", Store(postgres_url)
    with store.writing() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
    yield name
    with store.writing() as connection:
        connection.execute(text(f"DROP ROLE {name}"))
    store.close()


@pytest.fixture
def rotating(postgres_url, tmp_path):
    file = tmp_path / "database_url"
    file.write_text(postgres_url)
    settings = load({"DATABASE_URL_FILE": str(file)}, cwd=Path("/nonexistent"))
    store = Store(settings.database.url, current_url=current_database_url(settings))
    yield store, file
    store.close()


def user(store):
    with store.reading() as connection:
        return connection.execute(text("SELECT current_user")).scalar()


def test_a_new_connection_uses_the_new_user_and_password(rotating, postgres_url, role):
    store, file = rotating
    before = user(store)
    url = make_url(postgres_url).set(username=role, password="new")
    file.write_text(url.render_as_string(hide_password=False))
    assert user(store) == before, "an open connection goes on"
    store.engine.dispose()
    assert user(store) == role


@pytest.mark.parametrize("change", [{"database": "other"}, {"username": "nobody_of_that_name"}])
def test_credentials_that_fail_leave_those_of_the_last_connection_in_use(rotating, postgres_url, change, caplog):
    store, file = rotating
    before = user(store)
    file.write_text(make_url(postgres_url).set(**change).render_as_string(hide_password=False))
    for _ in range(2):
        store.engine.dispose()
        assert user(store) == before
    assert len([1 for line in caplog.messages if line.endswith("the last user and password stay in use")]) == 1


def test_another_database_in_the_file_needs_a_restart(rotating, postgres_url):
    store, file = rotating
    file.write_text(make_url(postgres_url).set(database="other").render_as_string(hide_password=False))
    with pytest.raises(Unreachable, match="names another database now; restart alertctl"):
        user(store)
