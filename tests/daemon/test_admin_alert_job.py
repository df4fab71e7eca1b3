"""alertctl's own alerts to its admins, and the lines that a daemon logs about deliveries."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from alertctl import outbox, users
from alertctl.daemon.admin_alert_job import AdminAlertJob
from alertctl.daemon.attempt_log import log_attempts
from alertctl.errors import Reason
from alertctl.outbox import Instance
from alertctl.outbox.tables import event
from tests.support.deliveries import EVERYBODY, NOW, SLACK, announce, arrived, claim, claim_one, record, refused, rows

PROVIDERS = {"slack": "slack", "smtp": "email"}
INSTANCE = Instance("0190", "db7", 42)


@pytest.fixture
def watch(store, clock):
    """Return a function that runs the job and returns the targets of each new alert, by title."""
    job = AdminAlertJob(store, EVERYBODY, PROVIDERS, lambda: None, clock)
    known: set[str] = set()

    def run() -> dict[str, list[str]]:
        job()
        new = [row for row in rows(store, event, published_by="alertctl") if row.id not in known]
        known.update(row.id for row in new)
        return {json.loads(row.fields)["title"]: [item.address for item in rows(store, event_id=row.id)] for row in new}

    return run


def pause(store, provider: str, now=NOW) -> None:
    store.write(lambda it: outbox.save_report(it, INSTANCE, provider, "token_revoked", now, now, now))


def resume(store, provider: str) -> None:
    store.write(lambda it: outbox.remove_report(it, INSTANCE, provider, NOW))


def test_admins_are_alerted_once_of_a_paused_channel_on_another_one(store, watch, clock):
    store.write(lambda it: users.add_user(it, "ana@corp.example", "admin", NOW))
    store.write(lambda it: users.add_user(it, "dev@corp.example", "developer", NOW))
    assert watch() == {}
    pause(store, "slack")
    title = "alertctl: slack is paused (token_revoked)"
    assert watch() == {title: ["ops@corp.example", "ana@corp.example"]}
    (alert,) = rows(store, event, published_by="alertctl")
    assert (alert.severity, "Run alertctl doctor slack" in alert.fields) == ("error", True)
    assert {row.routing_reason for row in rows(store, event_id=alert.id)} == {"self_alert"}
    for _ in range(3):
        pause(store, "slack", clock.advance(1800))
        assert watch() == {}, "once, however long it lasts"


def test_a_problem_that_returns_within_an_hour_is_not_alerted_again(store, watch, clock):
    pause(store, "smtp")
    assert list(watch().values()) == [["#platform-alerts"]]
    resume(store, "smtp")
    clock.advance(600)
    assert watch() == {}
    pause(store, "smtp", clock())
    assert watch() == {}
    resume(store, "smtp")
    clock.advance(3700)
    assert watch() == {}
    pause(store, "smtp", clock())
    assert list(watch().values()) == [["#platform-alerts"]]


def test_a_critical_alert_that_waits_for_five_minutes_is_alerted_and_others_are_not(store, watch, clock):
    announce(store, "slack:#ops", event_type="safety_rollback")
    announce(store, "slack:#ops")
    clock.advance(299)
    assert watch() == {}
    clock.advance(2)
    assert watch() == {"alertctl: critical alerts wait on slack": ["ops@corp.example"]}
    clock.advance(600)
    assert watch() == {}, "its own alert is not a critical one"


def test_a_default_channel_that_is_gone_is_alerted(store, watch):
    announce(store, "slack:#platform-alerts")
    record(store, refused(claim_one(store), Reason.BAD_ADDRESS, "channel_not_found"))
    assert watch() == {"alertctl: #platform-alerts can't be reached (channel_not_found)": ["ops@corp.example"]}
    announce(store, "slack:#elsewhere")
    record(store, refused(claim_one(store), Reason.BAD_ADDRESS, "channel_not_found"))
    announce(store, "slack:#platform-alerts")
    record(store, arrived(claim_one(store)))
    assert watch() == {}


@pytest.mark.postgres
def test_two_daemons_on_one_database_alert_once(store, watch, clock):
    pause(store, "slack")
    AdminAlertJob(store, EVERYBODY, PROVIDERS, lambda: None, clock)()
    AdminAlertJob(store, EVERYBODY, PROVIDERS, lambda: None, clock)()
    assert len(rows(store, event, published_by="alertctl")) == 1


def test_without_another_channel_the_problem_is_logged(store, clock, caplog):
    only_slack = replace(EVERYBODY, enabled=frozenset({"slack"}))
    pause(store, "slack")
    for _ in range(2):
        AdminAlertJob(store, only_slack, PROVIDERS, lambda: None, clock)()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "slack is paused (token_revoked); alerted nobody" in line


def test_a_daemon_is_alive_until_its_heartbeat_is_old(store, watch, clock):
    alive = []
    for seconds in (0, 100, 100):
        now = clock.advance(seconds)
        with store.reading() as connection:
            alive.append(outbox.has_daemon(connection, now))
        if not seconds:
            watch()
    assert alive == [False, True, False]


def test_each_final_failure_and_each_pause_of_a_provider_is_one_line(store, caplog):
    for name in "abc":
        announce(store, f"slack:#{name}")
    final, again, limited = claim(store).taken
    ended = [
        refused(final, Reason.BAD_ADDRESS, "channel_not_found"),
        refused(again, Reason.UNAVAILABLE, "http_503"),
        refused(limited, Reason.RATE_LIMITED, "ratelimited", entire_provider=True, retry_after=30.0),
    ]
    with caplog.at_level(logging.INFO):
        log_attempts(SLACK, ended, [True, False, False])
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"slack #a: channel_not_found, not retried (attempt 1); alertctl log show {final.delivery_id[-8:]}",
        "slack is paused for 30 s (ratelimited)",
    ]
