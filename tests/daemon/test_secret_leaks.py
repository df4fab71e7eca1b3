"""Planted secrets, many faults, every logger at DEBUG: no secret is in the log, the database or /metrics."""

from __future__ import annotations

import base64

import pytest

from alertctl.db import Store
from alertctl.sandbox import Sandbox
from tests.support.waiting import wait_until

TOKEN = "xoxb-planted-0123456789-secret"
KEY = "SG.planted-key-0123456789.planted-secret-part"
# What opens the breaker or pauses the provider comes last: behind it nothing is sent.
FAULTS = [
    "http_500",
    "html_200",
    "empty_200",
    "close_before_reading",
    "close_after_request",
    "accept_then_close",
    "rst",
    "half_headers",
    "short_body",
    "stall",
    "drip",
    "endless_headers",
    "huge_body",
    "gzip",
    "gzip_bomb",
    "bogus_charset",
    "invalid_utf8",
    "redirect_302:http://127.0.0.1:9/",
    "redirect_307:http://127.0.0.1:9/",
    "103_then_200",
    "http_429",
    "http_401",
]


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
@pytest.mark.postgres
def test_no_secret_is_in_the_log_the_database_or_the_metrics(serve, call, sandbox: Sandbox, store: Store) -> None:
    sandbox.slack.token, sandbox.sendgrid.api_key = TOKEN, KEY
    secrets = {"SLACK_BOT_TOKEN": TOKEN, **sandbox.settings(email="sendgrid"), "SENDGRID_API_KEY": KEY}
    secrets |= {
        "SLACK_BOT_TOKEN": TOKEN,
        "ALERTCTL_LOG_LEVEL": "debug",
        "ALERTCTL_DEADLINE": "1",
        "RETRY_SCHEDULE": "1h",
    }
    daemon = serve(**secrets)
    for provider in (sandbox.slack, sandbox.sendgrid):
        # What a provider says may hold our own secret: Slack and SendGrid do echo parts of requests.
        provider.faults.at("#echo" if provider is sandbox.slack else "echo@corp.example", f"reply:{TOKEN} {KEY}")
    for number, fault in enumerate(FAULTS):
        sandbox.slack.faults.at(f"#f{number}", fault)
        sandbox.sendgrid.faults.at(f"f{number}@corp.example", fault)
    names = ["echo"] + [f"f{number}" for number in range(len(FAULTS))]
    for name in names:
        body = {"event_type": "generic_alert", "title": name, "to": [f"slack:#{name}", f"email:{name}@corp.example"]}
        assert call(daemon, "POST", "events", body)[0] == 202
    tried = "SELECT count(*) FROM attempt WHERE outcome IS NOT NULL AND duration_ms IS NOT NULL"
    wait_until(lambda: _number(store, tried) >= 2 * len(FAULTS) - 2)
    metrics = call(daemon, "GET", "/metrics")[1]
    assert "alertctl_attempts_total" in metrics
    written = "".join(daemon.log) + metrics + "".join(_everything(store))
    assert "sqlalchemy.pool" in "".join(daemon.log), "the libraries say at DEBUG what they have to say"
    for secret in (TOKEN, KEY, base64.b64encode(TOKEN.encode()).decode(), call.token):
        assert secret not in written


def _number(store: Store, sql: str) -> int:
    with store.reading() as connection:
        return int(connection.exec_driver_sql(sql).scalar() or 0)


def _everything(store: Store) -> list[str]:
    with store.reading() as connection:
        tables = ("event", "delivery", "attempt", "pause", "token", "users")
        return [str(tuple(row)) for table in tables for row in connection.exec_driver_sql(f"SELECT * FROM {table}")]
