"""The list of running daemons, and the warning about different routes."""

from __future__ import annotations

from datetime import timedelta

from alertctl import outbox
from alertctl.delivery_log import status_report
from alertctl.outbox import Instance
from tests.support.deliveries import NOW, after

FIRST, SECOND = Instance("0190", "db7", 42), Instance("0191", "db8", 43)


def report(store, moment=NOW):
    with store.reading() as connection:
        return status_report(connection, "here", moment, (), daemon=False)


def save(store, instance: Instance, routes_hash: str, moment=NOW) -> None:
    store.write(lambda connection: outbox.save_instance(connection, instance, routes_hash, moment))


def test_two_daemons_with_different_routes_are_a_warning_until_one_changes_or_ends(store):
    save(store, FIRST, "a" * 64)
    assert report(store).warnings == []
    save(store, SECOND, "b" * 64)
    (warning,) = report(store).warnings
    assert warning == (
        "daemons run with different routes: host db7 pid 42 (aaaaaaaa), host db8 pid 43 (bbbbbbbb); "
        "give all the same [[routes]] and restart them"
    )
    save(store, SECOND, "a" * 64)
    assert report(store).warnings == []
    save(store, SECOND, "c" * 64)
    store.write(lambda connection: outbox.remove_instance(connection, SECOND))
    assert [item.pid for item in report(store).instances] == [42]
    assert report(store).warnings == []


def test_a_daemon_that_reports_no_more_does_not_count(store):
    save(store, FIRST, "a" * 64)
    save(store, SECOND, "b" * 64, after(200))
    later = report(store, after(200))
    assert ([item.pid for item in later.instances], later.warnings) == ([43], [])
    save(store, SECOND, "b" * 64, NOW + timedelta(days=2))
    assert [item.pid for item in report(store).instances] == [43], "the row of the other daemon is deleted"
