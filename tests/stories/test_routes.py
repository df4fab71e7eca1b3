"""Routes with every kind of match: a daemon, its callers, Slack and mail."""

from __future__ import annotations

from tests.support.daemon import call, serve, settings
from tests.support.waiting import wait_until

__all__ = ["call", "serve", "settings"]

ROUTES = """
[[routes]]
name = "to nobody"
match = { environment = "staging", severity = "<critical" }
to = []

[[routes]]
name = "glob and list"
match = { event_type = ["safety_*", "rollout_advance"], feature_flag = ["checkout-*", "cart"] }
to = ["#glob", "email:glob@corp.example"]

[[routes]]
name = "number"
match = { event_type = "rollout_advance", to_percentage = 100 }
to = ["#number"]

[[routes]]
name = "severity"
match.severity = ">=error"
to = ["default", "#severity"]
continue = true

[[routes]]
name = "label"
match = { "labels.team" = "pay*" }
to = ["#label"]

[[routes]]
name = "detail"
match = { details = { nightly = true } }
to = ["#detail"]
"""
DEFAULT = ["#platform-alerts", "ops@corp.example"]
USER = "admin@corp.example"
"""The user of `call`, whose preferences include safety_rollback."""
STAGING, PAYMENTS = {"environment": "staging"}, {"team": "payments"}
CASES = [
    ("rollout_advance", STAGING, {}, ["#platform-alerts (route to nobody)"]),
    ("safety_rollback", STAGING, {}, [*DEFAULT, "#severity", USER]),
    ("safety_rollback", {"feature_flag": "checkout-v3"}, {}, ["#glob", "glob@corp.example", USER]),
    ("rollout_advance", {"feature_flag": "cart"}, {}, ["#glob", "glob@corp.example"]),
    ("rollout_advance", {"to_percentage": 100}, {}, ["#number"]),
    ("rollout_advance", {"to_percentage": 50}, {}, ["#platform-alerts"]),
    ("generic_alert", {"severity": "error"}, {}, [*DEFAULT, "#severity"]),
    ("generic_alert", {"severity": "error"}, {"labels": PAYMENTS}, [*DEFAULT, "#severity", "#label"]),
    ("generic_alert", {}, {"labels": {**PAYMENTS, "slack": "#more"}}, ["#label", "#more"]),
    ("generic_alert", {"details": {"nightly": True}}, {}, ["#detail"]),
    ("generic_alert", {}, {}, DEFAULT),
    ("generic_alert", {"severity": "error"}, {"to": ["slack:#named"], "labels": PAYMENTS}, ["#named"]),
]


def test_each_event_reaches_the_targets_of_its_routes(serve, call, sandbox, tmp_path):
    (tmp_path / "routes.toml").write_text(ROUTES)
    daemon = serve(ALERTCTL_CONFIG=str(tmp_path / "routes.toml"), NOTIFICATION_ADMIN_EMAILS="ops@corp.example")
    channels: list[str] = []
    emails: list[str] = []
    for event_type, fields, options, targets in CASES:
        title = {"title": "Disk full"} if event_type == "generic_alert" else {}
        status, event = call(daemon, "POST", "events", {"event_type": event_type, **title, **fields, **options})
        assert status == 202, event
        recorded = [f"{item['to']} ({item['error']})" if item["error"] else item["to"] for item in event["deliveries"]]
        assert sorted(recorded) == sorted(targets), (event_type, fields, options)
        channels += [target for target in targets if target.startswith("#") and "(" not in target]
        emails += [target for target in targets if "@" in target]
    wait_until(lambda: len(sandbox.slack.messages) >= len(channels))
    wait_until(lambda: len(sandbox.smtp.messages) >= len(emails))
    assert sorted(message.channel for message in sandbox.slack.messages) == sorted(channels)
    assert len(sandbox.smtp.messages) == len(emails)
