"""What Prometheus is told is what happened."""

from __future__ import annotations

import re

import pytest

from alertctl.channels import build
from alertctl.daemon.metrics import Metrics
from alertctl.dispatcher import Dispatcher, Policy
from alertctl.errors import Reason
from alertctl.schemas import DeliveryItem, EventReceipt
from core.lab import NOW, SLACK, announce, claim_one, record, refused, rows, settings_for, shut


@pytest.fixture
def metrics(store, clock) -> Metrics:
    return Metrics(store, (1.0,), clock, store.check_writes)


def counted(metrics: Metrics, name: str) -> dict[str, float]:
    """A counter's values by its last label."""
    found = re.findall(rf'^{name}_total{{.*"(.*)"}} (\S+)$', metrics.exposition().decode(), re.MULTILINE)
    return {label: float(value) for label, value in found if float(value)}


def test_what_an_alert_is_built_on_is_there_before_it_happens(metrics):
    exposition = metrics.exposition().decode()
    for series in (
        'deliveries_total{channel="slack",status="failed"}',
        'deliveries_total{channel="email",status="failed"}',
        'suppressed_total{cause="slack_disabled"}',
        'suppressed_total{cause="email_disabled"}',
    ):
        assert f"alertctl_{series} 0.0\n" in exposition


def test_duplicates_are_one_cause_whatever_they_repeat(metrics):
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


def test_what_fails_unasked_behind_an_open_breaker_is_counted_and_is_no_attempt(
    store, sandbox, database_url, clock, metrics
):
    announce(store, "slack:#first", now=clock())
    record(store, refused(claim_one(store, SLACK, clock()), Reason.CONFIG, "invalid_auth"), now=clock())
    announce(store, "slack:#a", "slack:#b", now=clock())
    settings = settings_for(sandbox, database_url)
    channels = build(settings)
    Dispatcher(store, channels, Policy.of(settings), clock, metrics.ended).run_once()
    shut(channels.values())
    assert len(rows(store, status="failed", error="invalid_auth")) == 3
    assert counted(metrics, "alertctl_deliveries") == {"failed": 2}
    assert counted(metrics, "alertctl_attempts") == {}
