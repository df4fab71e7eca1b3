"""Scheduled jobs that still run while the daemon stops."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from alertctl.daemon.admin_alert_job import AdminAlertJob
from alertctl.daemon.scheduler import SchedulerHeartbeat, log_failure, schedule
from alertctl.daemon.spool_job import SpoolJob
from alertctl.db import Store, Writer
from alertctl.errors import Unreachable
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest
from alertctl.spool import Destination, Spool, database_address
from tests.support.deliveries import EVERYBODY, dispatching, settings_for


def test_a_job_that_runs_while_the_daemon_stops_logs_no_failure(
    store: Store, sandbox: Sandbox, database_url: str, clock, caplog
) -> None:
    settings, writer, spool = settings_for(sandbox, database_url), Writer(store), Spool.of(os.environ)
    event = PublishRequest(event_type="generic_alert", fields={"title": "x"}, idempotency_key="x")
    spool.keep(event, Destination(database_address(database_url), False), "away", datetime.now(UTC))
    with dispatching(writer, settings, clock) as dispatcher:
        scheduler = schedule(
            settings, writer, dispatcher, SchedulerHeartbeat(), clock, lambda: True, lambda count: None
        )
        jobs = [job.func for job in scheduler.get_jobs()]
        jobs.append(AdminAlertJob(writer, EVERYBODY, {"slack": "slack"}, lambda: None, clock))
        jobs.append(SpoolJob(spool, settings, (), store, writer, lambda: None, clock))
        writer.close()
        for job in jobs:
            job()
    assert len(jobs) == 7
    assert [record.getMessage() for record in caplog.records] == []
    assert spool.waiting() == 1


def test_a_job_whose_database_is_away_logs_its_failure(caplog) -> None:
    log_failure("prune", Unreachable("away"))
    assert [record.getMessage() for record in caplog.records] == ["prune failed: away; retrying later"]
