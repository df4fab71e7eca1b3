"""The metrics match the recorded events and deliveries."""

from __future__ import annotations

import re

import pytest

from alertctl.channels import build
from alertctl.daemon.metrics import Metrics
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.outbox import Instance, save_report
from alertctl.publish import publish
from alertctl.schemas import DeliveryItem, EventReceipt
from tests.support.deliveries import NOW, after, announce, close_channels, publication, settings_for


@pytest.fixture
def metrics(store, clock) -> Metrics:
    return Metrics(store, clock, store.check_writes)


def counted(metrics: Metrics, name: str) -> dict[str, float]:
    """A counter's values by its last label."""
    samples = re.findall(rf'^{name}_total{{.*"(.*)"}} (\S+)$', metrics.exposition().decode(), re.MULTILINE)
    return {label: float(value) for label, value in samples if float(value)}


def test_series_used_by_alerts_exist_before_the_first_failure(metrics):
    exposition = metrics.exposition().decode()
    for series in (
        'deliveries_total{channel="slack",status="failed"}',
        'deliveries_total{channel="email",status="failed"}',
        'suppressed_total{cause="slack_disabled"}',
        'suppressed_total{cause="email_disabled"}',
    ):
        assert f"alertctl_{series} 0.0\n" in exposition


def test_duplicates_of_different_events_are_one_cause(metrics):
    for number in range(3):
        held = DeliveryItem(
            id="1",
            event_type="generic_alert",
            channel="slack",
            to="#x",
            status="suppressed",
            error=f"duplicate of 0190-{number}",
            attempts=0,
            next_attempt_at=None,
            created_at=NOW,
            event_id="2",
        )
        metrics.accepted(EventReceipt(event_id="2", event_type="generic_alert", created=True, deliveries=[held]))
    assert counted(metrics, "alertctl_suppressed") == {"duplicate": 3}


def test_an_open_breaker_is_shown_with_its_daemon_and_its_next_probe(store, metrics):
    instance = Instance.current()
    store.write(
        lambda connection: save_report(connection, instance, "slack", "invalid_auth", NOW, after(30), metrics._clock())
    )
    exposition = metrics.exposition().decode()
    labels = f'code="invalid_auth",host="{instance.host}",pid="{instance.pid}",provider="slack"'
    assert f"alertctl_breaker_open{{{labels}}} 1.0\n" in exposition
    assert f"alertctl_breaker_since_seconds{{{labels}}}" in exposition
    assert f"alertctl_breaker_next_probe_seconds{{{labels}}}" in exposition
    assert 'alertctl_paused{provider="slack"} 1.0' in exposition


def test_a_due_delivery_of_a_disabled_channel_is_not_late(store, clock):
    announce(store, "slack:#a", now=clock())
    clock.advance(60)
    for channels, late in ((["slack", "email"], "60.0"), (["email"], "0.0"), ([], "0.0")):
        exposition = Metrics(store, clock, store.check_writes, channels).exposition().decode()
        assert f"\nalertctl_oldest_due_seconds {late}\n" in exposition
        assert '\nalertctl_queue_depth{channel="slack"} 1.0\n' in exposition


def test_a_delivery_that_waits_for_a_good_token_is_an_attempt_and_not_final(
    store, sandbox, database_url, clock, metrics
):
    announce(store, "slack:#first", now=clock())
    channels = build(settings_for(sandbox, database_url, SLACK_BOT_TOKEN="xoxb-wrong"))
    settings = settings_for(sandbox, database_url)
    Dispatcher(store, channels, DispatchOptions.of(settings), clock, metrics.ended).run_once()
    close_channels(channels.values())
    assert counted(metrics, "alertctl_deliveries") == {}
    assert counted(metrics, "alertctl_attempts") == {"config": 1}


def test_a_delivery_that_is_claimed_too_late_counts_as_expired(store, sandbox, database_url, clock, metrics):
    alert = publication("generic_alert", {"title": "Disk almost full"}, to=["slack:#late"], expires_at=clock())
    store.write(lambda connection: publish(connection, alert, clock()))
    settings = settings_for(sandbox, database_url)
    channels = build(settings)
    Dispatcher(store, channels, DispatchOptions.of(settings), clock, metrics.ended).run_once()
    close_channels(channels.values())
    assert "\nalertctl_expired_total 1.0\n" in metrics.exposition().decode()


def test_a_refused_delivery_older_than_the_maximum_age_counts_as_expired(store, sandbox, database_url, clock, metrics):
    announce(store, "slack:#old", now=clock())
    clock.advance(7200)
    settings = settings_for(sandbox, database_url, SLACK_BOT_TOKEN="xoxb-wrong", ALERTCTL_MAX_AGE="1h")
    channels = build(settings)
    Dispatcher(store, channels, DispatchOptions.of(settings), clock, metrics.ended).run_once()
    close_channels(channels.values())
    assert "\nalertctl_expired_total 1.0\n" in metrics.exposition().decode()
