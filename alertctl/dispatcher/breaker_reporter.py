"""Report a worker's circuit breaker to the database and the log, and receive requests to probe."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from alertctl import outbox
from alertctl.channels.base import Receipt
from alertctl.dispatcher.circuit_breaker import CircuitBreaker
from alertctl.outbox import AttemptResult, Instance

log = logging.getLogger("alertctl.dispatcher")


class BreakerReporter:
    """Reports the breaker of one provider. `instance` is set in a daemon, which keeps a report in the database."""

    def __init__(self, breaker: CircuitBreaker, provider: str, instance: Instance | None) -> None:
        self._breaker = breaker
        self._provider = provider
        self._instance = instance
        self._reported_at: float | None = None
        # `send --wait` starts a worker for each round, with the breaker of the last one.
        self._was_open = breaker.refusal is not None

    def request_probes(self, connection: Connection, results: Sequence[AttemptResult]) -> None:
        """Ask all instances to probe when a person's own command or test got through."""
        if self._instance is None and any(isinstance(attempt.result, Receipt) for attempt in results):
            outbox.request_probes(connection, [self._provider])

    def sync(self, connection: Connection, now: datetime) -> None:
        """Report an open breaker and read requests to probe it; remove the report of a closed one."""
        refusal, monotonic = self._breaker.refusal, time.monotonic()
        if refusal is not None:
            number = outbox.probe_request_number(connection, self._provider)
            self._breaker.request_probe(number, monotonic)
        if self._instance is None:
            return
        due = self._reported_at is None or monotonic - self._reported_at >= outbox.REPORT_SECONDS
        if refusal is not None and due:
            probe_at = now + timedelta(seconds=self._breaker.seconds_to_probe(monotonic))
            outbox.save_report(
                connection, self._instance, self._provider, refusal.code, self._breaker.since, probe_at, now
            )
            self._reported_at = monotonic
        elif refusal is None and self._reported_at is not None:
            self.remove_report(connection, now)
            self._reported_at = None

    def remove_report(self, connection: Connection, now: datetime) -> None:
        """Remove the report from the database, if there is one."""
        if self._instance is not None and self._reported_at is not None:
            outbox.remove_report(connection, self._instance, self._provider, now)

    def log_change(self) -> None:
        """Log when the breaker has opened or closed since the last call."""
        refusal = self._breaker.refusal
        if refusal is not None and not self._was_open:
            if self._instance is None:
                # The pause ends with this process, and a test message isn't retried.
                message = "sending through %s fails (%s); run alertctl doctor"
            else:
                message = "%s is paused (%s). Its deliveries wait; run alertctl doctor."
            log.warning(message, self._provider, refusal.code)
        elif refusal is None and self._was_open:
            log.info("%s accepts messages again; its deliveries go on", self._provider)
        self._was_open = refusal is not None
