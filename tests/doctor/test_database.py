"""The doctor's findings about the database and its delivery log."""

from __future__ import annotations

import gc
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, inspect, text
from sqlalchemy.engine import make_url

from alertctl.db import Store
from alertctl.ids import new_id
from alertctl.models import Delivery, Event, Pause
from alertctl.outbox import Instance, save_report
from tests.support.doctor import NOW, Findings, failures, outcomes, run_doctor
from tests.support.waiting import wait_until

ON = {
    "SLACK_ENABLED": "true",
    "SLACK_BOT_TOKEN": "xoxb-not-asked",
    "EMAIL_ENABLED": "true",
    "SMTP_HOST": "mail.corp.example",
}


def look(url: str, folder: Path, **more: str) -> Findings:
    findings = run_doctor({**ON, "DATABASE_URL": url, **more}, folder, area="db")
    return {name.removeprefix("db "): finding for name, finding in findings.items()}


@pytest.fixture
def log(store: Store, tmp_path: Path):
    """Rows of the delivery log, and what the doctor says of them."""
    return Log(store, tmp_path)


class Log:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder

    def look(self, **more: str) -> Findings:
        return look(self.store.url.render_as_string(hide_password=False), self.folder, **more)

    def add(
        self,
        channel: str,
        status: str,
        *,
        minutes_ago: float,
        error: str | None = None,
        due: bool = False,
        reason: str | None = None,
    ) -> None:
        """A delivery made `minutes_ago`; with `due` it has been due since then."""
        when = NOW - timedelta(minutes=minutes_ago)

        def work(connection: Connection) -> None:
            event, delivery_id = new_id(when), new_id(when)
            connection.execute(
                insert(Event.__table__).values(
                    id=event,
                    event_type="generic_alert",
                    severity="info",
                    fields="{}",
                    occurred_at=when,
                    created_at=when,
                )
            )
            connection.execute(
                insert(Delivery.__table__).values(
                    id=delivery_id,
                    event_id=event,
                    event_type="generic_alert",
                    channel=channel,
                    address="x",
                    address_key="x",
                    routing_reason="named",
                    status=status,
                    error=error,
                    reason=reason,
                    queued_at=when,
                    priority=1,
                    next_attempt_at=when if due else None,
                    created_at=when,
                    updated_at=when,
                )
            )

        self.store.write(work)

    def report(self, provider: str, code: str, host: str = "alerts-1") -> None:
        """A running daemon's open breaker, since an hour ago."""
        since, probe = NOW - timedelta(hours=1), NOW + timedelta(seconds=30)
        instance = Instance(f"{host}-{provider}", host, 4711)
        self.store.write(lambda connection: save_report(connection, instance, provider, code, since, probe, NOW))

    def limit(self, provider: str, code: str, *, seconds: float, address: str = "") -> None:
        """A rate limit that ends in `seconds`, since an hour ago."""
        row = {"provider": provider, "address_key": address, "reason": "rate_limited", "code": code}
        until, since = NOW + timedelta(seconds=seconds), NOW - timedelta(hours=1)
        self.store.write(
            lambda connection: connection.execute(insert(Pause.__table__).values(**row, until=until, since=since))
        )


@pytest.mark.postgres
def test_a_missing_file_that_cannot_be_created_is_a_failure(tmp_path):
    (tmp_path / "file").touch()
    for name, outcome in (("file/alertctl.db", "failure"), ("new/alertctl.db", "warning")):
        finding = look(f"sqlite:///{tmp_path}/{name}", tmp_path)["reachable"]
        assert (finding.outcome, f"{tmp_path}/file is not a folder" in finding.what) == (outcome, outcome == "failure")


def test_an_empty_log_of_the_right_version_is_well(log):
    findings = log.look()
    assert [findings[name].outcome for name in ("reachable", "migrations", "oldest due", "paused providers")] == [
        "ok"
    ] * 4
    assert [findings[f"{channel} success"].outcome for channel in ("slack", "email")] == ["unknown"] * 2


def test_a_success_shows_how_long_ago_it_was(log):
    log.add("slack", "failed", minutes_ago=300, error="is_archived")
    log.add("slack", "success", minutes_ago=200)
    log.add("email", "success", minutes_ago=1)
    log.add("email", "suppressed", minutes_ago=0.5)
    findings = log.look()
    assert [(findings[f"{name} success"].outcome, findings[f"{name} success"].what) for name in ("slack", "email")] == [
        ("ok", "3 h ago"),
        ("ok", "60 s ago"),
    ]


@pytest.mark.parametrize(("due", "again"), [(False, False), (True, True)])
def test_a_newest_delivery_that_failed_is_a_warning_with_its_error(log, due, again):
    log.add("slack", "success", minutes_ago=3000)
    log.add("slack", "failed", minutes_ago=1, error="channel_not_found", due=due)
    finding = log.look()["slack success"]
    assert finding.outcome == "warning"
    assert finding.what.startswith("last success: 2 d ago; the newest delivery failed: channel_not_found")
    assert ("alertctl serve retries it" in finding.what) is again
    assert finding.fix == "See why: alertctl log --channel slack --status failed"


def test_a_channel_that_is_off_is_not_asked_about(log):
    assert "email success" not in log.look(EMAIL_ENABLED="false")


@pytest.mark.parametrize(("minutes", "outcome"), [(1, "ok"), (4.9, "ok"), (5.1, "warning"), (600, "warning")])
def test_a_due_delivery_that_is_not_claimed_is_a_warning_after_five_minutes(log, minutes, outcome):
    log.add("slack", "pending", minutes_ago=minutes, due=True)
    finding = log.look()["oldest due"]
    assert finding.outcome == outcome
    assert finding.what.startswith("1 delivery waits")
    assert ("alertctl serve" in finding.fix) == ("alertctl dispatch --once" in finding.fix) == (outcome == "warning")


def test_an_open_breaker_is_a_failure_with_its_code_its_daemon_and_its_fix(log):
    log.report("slack", "token_revoked")
    findings = log.look()
    assert failures(findings) == {"paused providers"}
    assert findings["paused providers"].what == (
        "slack is paused in the daemon on alerts-1 (pid 4711): token_revoked 60 min ago; next probe in 30 s"
    )
    assert "SLACK_BOT_TOKEN" in findings["paused providers"].fix


def test_every_paused_provider_is_named_with_its_own_fix(log):
    log.report("slack", "token_revoked")
    log.report("sendgrid", "unauthorized", "alerts-2")
    log.limit("smtp", "450", seconds=30, address="x@corp.example")
    finding = log.look()["paused providers"]
    assert "slack is paused in the daemon on alerts-1" in finding.what
    assert "sendgrid is paused in the daemon on alerts-2" in finding.what
    assert "SLACK_BOT_TOKEN" in finding.fix
    assert "SENDGRID_API_KEY" in finding.fix


@pytest.mark.parametrize(("seconds", "outcome"), [(30, "warning"), (-1, "ok")])
def test_a_rate_limit_counts_while_it_lasts(log, seconds, outcome):
    log.limit("slack", "ratelimited", seconds=seconds)
    finding = log.look()["paused providers"]
    assert finding.outcome == outcome
    assert outcome == "ok" or "slack: ratelimited, for another 30 s" in finding.what


def test_waiting_refused_deliveries_are_a_warning_without_a_daemon(log):
    log.add("slack", "failed", minutes_ago=10, error="token_revoked", due=True, reason="config")
    finding = log.look()["paused providers"]
    assert (finding.outcome, finding.what) == ("warning", "1 delivery waits on slack: token_revoked")
    assert "SLACK_BOT_TOKEN" in finding.fix


@pytest.mark.parametrize(
    ("version", "outcome", "word"), [("0000", "warning", "serve"), ("9999", "failure", "Upgrade alertctl")]
)
def test_a_database_of_another_version_is_recognized(log, version, outcome, word):
    log.store.write(
        lambda connection: connection.execute(text(f"UPDATE alertctl_version SET version_num = '{version}'"))
    )
    findings = log.look()
    assert findings["migrations"].outcome == outcome
    assert word in findings["migrations"].fix
    assert findings["oldest due"].outcome == "unknown"


def test_looking_changes_nothing_in_the_database(log):
    log.add("slack", "pending", minutes_ago=10, due=True)
    log.limit("slack", "ratelimited", seconds=-5)

    def rows() -> list[object]:
        with log.store.reading() as connection:
            return [
                connection.execute(text(f"SELECT * FROM {table}")).all() for table in ("delivery", "attempt", "pause")
            ]

    before = rows()
    log.look()
    assert rows() == before


def test_an_sqlite_file_that_is_missing_is_a_warning_and_stays_missing(tmp_path):
    path = tmp_path / "no" / "such" / "alertctl.db"
    findings = look(f"sqlite:///{path}", tmp_path)
    assert outcomes(findings)["reachable"] == "warning"
    assert failures(findings) == set()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("content", [b"this is not a database, " * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_a_failure(tmp_path, content):
    path = tmp_path / "alertctl.db"
    path.write_bytes(content)
    findings = look(f"sqlite:///{path}", tmp_path)
    assert failures(findings) == {"reachable"}
    assert {outcome for name, outcome in outcomes(findings).items() if name != "reachable"} == {"unknown"}
    assert path.read_bytes() == content


def test_an_empty_file_gets_its_tables_from_the_first_command(tmp_path):
    (tmp_path / "alertctl.db").touch()
    findings = look(f"sqlite:///{tmp_path / 'alertctl.db'}", tmp_path)
    assert (findings["reachable"].outcome, findings["migrations"].outcome) == ("ok", "warning")


def test_a_database_that_is_locked_for_long_is_a_failure_in_time(tmp_path):
    path = tmp_path / "alertctl.db"
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("CREATE TABLE x (y)")
        holder.execute("BEGIN EXCLUSIVE")
        findings = run_doctor({"DATABASE_URL": f"sqlite:///{path}"}, tmp_path, area="db", seconds=0.3)
        assert failures(findings) == {"db reachable"}
        assert f"fuser -v {path}" in findings["db reachable"].fix
        assert "server" not in findings["db reachable"].fix
    finally:
        holder.close()
    # The check that didn't end in time closes its connection when it ends: else Python 3.13 warns here.
    wait_until(lambda: not any(thread.name.startswith("doctor-") for thread in threading.enumerate()))
    gc.collect()


def test_an_empty_postgres_gets_its_tables_from_the_first_command(empty_postgres_url, tmp_path):
    findings = look(empty_postgres_url, tmp_path)
    assert (findings["reachable"].outcome, findings["migrations"].outcome) == ("ok", "warning")


def test_a_postgres_that_takes_no_writes_is_a_failure(postgres_url, tmp_path):
    store = Store(postgres_url)
    name = make_url(postgres_url).database
    store.write(
        lambda connection: connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    )
    store.close()
    findings = look(postgres_url, tmp_path)
    assert failures(findings) == {"reachable"}
    assert "is not writable" in findings["reachable"].what
    assert "primary" in findings["reachable"].fix


def test_an_empty_postgres_in_which_no_table_can_be_made_is_a_failure(empty_postgres_url, tmp_path):
    owner, role = Store(empty_postgres_url), f"guest_{new_id(NOW)[-12:]}"
    owner.write(lambda connection: connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'a-password'")))
    url = owner.url.set(username=role, password="a-password")
    findings = look(url.render_as_string(hide_password=False), tmp_path)
    owner.write(lambda connection: connection.execute(text(f"DROP ROLE {role}")))
    owner.close()
    assert failures(findings) == {"reachable"}
    assert "permission denied for schema public" in findings["reachable"].what
    assert "GRANT" in findings["reachable"].fix


def test_a_postgres_role_without_rights_gets_the_advice_to_grant_them(postgres_url, tmp_path):
    owner, role = Store(postgres_url), f"guest_{new_id(NOW)[-12:]}"
    owner.write(lambda connection: connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'a-password'")))
    url = owner.url.set(username=role, password="a-password").render_as_string(hide_password=False)
    try:
        cannot_read = look(url, tmp_path)["reachable"]
        owner.write(
            lambda connection: connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
        )
        cannot_write = look(url, tmp_path)["reachable"]
    finally:
        owner.write(lambda connection: connection.execute(text(f"DROP OWNED BY {role}")))
        owner.write(lambda connection: connection.execute(text(f"DROP ROLE {role}")))
        owner.close()
    for finding in (cannot_read, cannot_write):
        assert (finding.outcome, "permission denied for table" in finding.what) == ("failure", True)
        assert "GRANT" in finding.fix
        assert "docs/operations.md" in finding.fix


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_file_that_only_can_be_read_is_a_failure(sqlite_url, tmp_path, is_empty):
    path = tmp_path / ("empty.db" if is_empty else "alertctl.db")
    path.touch()
    findings = look(f"sqlite:///file:{path}?mode=ro&uri=true", tmp_path)
    assert failures(findings) == {"reachable"}
    assert "is not writable" in findings["reachable"].what
    assert "df" in findings["reachable"].fix
    assert "its -wal and -shm files" in findings["reachable"].fix


@pytest.mark.postgres
def test_the_write_that_proves_the_database_takes_writes_leaves_nothing(log, tmp_path):
    def everything() -> list[object]:
        with log.store.reading() as connection:
            return [connection.execute(text(f'SELECT * FROM "{name}"')).all() for name in tables(connection)]

    before = everything()
    assert log.look()["reachable"].outcome == "ok"
    assert everything() == before


def tables(connection: Connection) -> list[str]:
    return sorted(inspect(connection).get_table_names())
