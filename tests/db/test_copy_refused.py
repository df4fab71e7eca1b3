"""`alertctl db copy` writes only to an empty database or to its own earlier copy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update

from alertctl.db import Store
from alertctl.db.copy import copy
from alertctl.errors import AlertctlError, ConfigError
from alertctl.outbox.tables import delivery
from tests.support.database_contents import (
    RUN,
    add_person,
    contents,
    fill_every_table,
    opened,
)
from tests.support.deliveries import NOW, after, announce, arrived, claim_one, record, rows


def assert_refused(source: Store, target: Store, message: str) -> None:
    before = contents(target)
    with pytest.raises(ConfigError, match=message) as caught:
        copy(source, target, after(3600))
    assert str(caught.value).startswith("--to: ")
    assert contents(target) == before


def test_the_database_itself_is_refused_under_any_name(store, tmp_path):
    announce(store, "slack:#a")
    if store.is_sqlite:
        (tmp_path / "alias.db").symlink_to(tmp_path / "alertctl.db")
        alias = Store(f"sqlite:///{tmp_path / 'alias.db'}")
    else:
        alias = Store(store.url.update_query_dict({"application_name": "other"}).render_as_string(False))
    assert_refused(store, alias, "is the source database itself")
    alias.close()


def test_a_database_with_rows_of_its_own_is_refused(store, other):
    announce(store, "slack:#a")
    add_person(other, "somebody@corp.example")
    assert_refused(store, other, "rows in users that are not from a copy")


def test_the_copy_of_another_database_is_refused(store, other, third):
    copy(third, other, NOW)
    assert_refused(store, other, "a copy of another database")


def test_a_database_from_which_somebody_has_sent_is_refused(store, other):
    announce(store, "slack:#a")
    copy(store, other, NOW)
    record(other, arrived(claim_one(other)))
    assert_refused(store, other, "has sent deliveries from it")


def test_a_database_from_which_somebody_is_sending_is_refused(store, other):
    announce(store, "slack:#a")
    copy(store, other, NOW)
    claim_one(other, now=after(60))
    assert_refused(store, other, "is sending deliveries from it")


def test_a_user_or_token_that_only_the_target_has_is_refused(store, other):
    fill_every_table(store)
    copy(store, other, NOW)
    stranger = add_person(other, "somebody@corp.example")
    assert_refused(store, other, f"row in users that the source doesn't have .id {stranger}")


def test_a_daemon_that_has_only_started_on_the_target_is_no_hindrance(store, other):
    announce(store, "slack:#a")
    today = {"job": "prune", "period": "2026-11-24", "started_at": NOW}
    other.write(lambda connection: connection.execute(insert(RUN), today))
    assert copy(store, other, NOW).is_complete
    assert contents(other) == contents(store)


def test_a_row_that_the_target_cannot_hold_is_one_line_with_the_tables_name(lite, postgres_url):
    announce(lite, "slack:#a")
    lite.write(lambda connection: connection.execute(update(delivery).values(priority=2**40)))
    refused_row = pytest.raises(AlertctlError, match=r"^delivery: the target refuses a row: .*out of range")
    with opened(postgres_url) as target, refused_row as caught:
        copy(lite, target, NOW)
    assert "\n" not in str(caught.value)


def test_the_copy_of_a_copy_bears_its_own_mark_only(lite, target, third):
    announce(lite, "slack:#a")
    copy(lite, target, NOW)
    assert copy(target, third, datetime(2026, 3, 3, tzinfo=UTC)).is_complete
    assert [entry.started_at.day for entry in rows(third, RUN)] == [3]
