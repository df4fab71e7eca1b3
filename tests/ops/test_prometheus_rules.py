"""The Prometheus rules read metrics that exist, ignore disabled channels, and print whole numbers."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from alertctl.daemon.metrics import Metrics
from alertctl.db import Store
from tests.ops.checkout import yaml_of

(GROUP,) = yaml_of("config/prometheus-rules.yaml")["groups"]
ALERTS = {rule["alert"]: rule for rule in GROUP["rules"] if "alert" in rule}


@pytest.fixture
def exposition(sqlite_url: str) -> str:
    store = Store(sqlite_url)
    try:
        return Metrics(store, lambda: datetime.now(UTC), store.check_writes).exposition().decode()
    finally:
        store.close()


def test_every_metric_of_the_rules_is_exposed(exposition):
    named = set(re.findall(r"\balertctl_[a-z_]+", str(GROUP)))
    kinds = dict(re.findall(r"(?m)^# TYPE (\w+) (\w+)$", exposition))
    suffixed = {f"{name}_bucket" for name, kind in kinds.items() if kind == "histogram"}
    assert len(named) >= 8
    assert named - set(kinds) - suffixed == set()


def test_every_label_value_that_a_rule_selects_is_one_that_alertctl_writes(exposition):
    selected = set(re.findall(r'(status|outcome)="(\w+)"', str(GROUP)))
    assert selected == {("status", "failed"), ("status", "success"), ("outcome", "failed")}
    assert re.search(r'alertctl_suppressed_total\{cause="email_disabled"\}', exposition)


@pytest.mark.parametrize("name", ALERTS)
def test_an_annotation_rounds_the_numbers_that_it_prints(name):
    for annotation in ALERTS[name]["annotations"].values():
        for template in re.findall(r"\{\{ \$value(.*?)\}\}", annotation):
            assert template.strip() in ('| printf "%.0f"', "| humanizeDuration", "| humanizePercentage")


def test_a_suppression_for_a_disabled_channel_alerts_only_if_the_channel_delivered_before():
    rules = [rule["expr"] for rule in ALERTS.values() if "suppressed" in rule["expr"]]
    (expression,) = rules
    assert re.search(r"and sum by \(channel\) \(increase\(alertctl_deliveries_total\{status=\"success\"\}", expression)
