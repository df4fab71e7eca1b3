"""Prometheus metrics: the counters of this daemon, and the queue in the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily

from alertctl import delivery_log
from alertctl.channels import CHANNEL_NAMES
from alertctl.channels.base import Receipt
from alertctl.db import Store
from alertctl.error_codes import DUPLICATE, ROUTE_PREFIX
from alertctl.errors import Reason, Unreachable
from alertctl.models import Status
from alertctl.outbox import AttemptResult, ClaimScope
from alertctl.retry import WAITING
from alertctl.routing import NOT_ALLOWED
from alertctl.schemas import EventReceipt, Paused

DELIVERY_SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 14400)


class Metrics:
    """Counters of this process. Attempts and final outcomes are counted separately.

    A delivery of a channel that is not in `channels` is never late.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        check_database: Callable[[], None],
        channels: Collection[str] = CHANNEL_NAMES,
    ) -> None:
        # A second series with each counter's creation time has no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._clock = clock
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        self._accepted = counter("alertctl_events_accepted", "Recorded events", ["event_type"])
        self._suppressed = counter(
            "alertctl_suppressed", "Deliveries suppressed when their event was recorded", ["cause"]
        )
        self._attempts = counter("alertctl_attempts", "Finished attempts", ["provider", "outcome", "reason"])
        self._deliveries = counter(
            "alertctl_deliveries", "Deliveries that reached a final status", ["channel", "status"]
        )
        self._seconds = Histogram(
            "alertctl_delivery_seconds",
            "Seconds from the event (or its resend) to its successful delivery",
            ["channel"],
            buckets=DELIVERY_SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._expired = counter("alertctl_expired", "Deliveries that expired before they were sent")
        # Create the series at 0: one that starts with its first failure shows no increase, and no alert fires.
        for channel in CHANNEL_NAMES:
            for status in (Status.SUCCESS, Status.FAILED):
                self._deliveries.labels(channel, status.value)
            self._suppressed.labels(f"{channel}_disabled")
        for cause in ("duplicate", "route", NOT_ALLOWED):
            self._suppressed.labels(cause)
        self._registry.register(_QueueCollector(store, clock, check_database, channels))

    def accepted(self, receipt: EventReceipt) -> None:
        if receipt.created:
            self._accepted.labels(receipt.event_type).inc()
            for item in receipt.deliveries:
                if item.status == "suppressed":
                    self._suppressed.labels(_cause(item.error or "")).inc()

    def ended(self, scope: ClaimScope, ended: Sequence[AttemptResult], final: Sequence[bool]) -> None:
        """Count ended attempts, and the deliveries that they made `final`."""
        now = self._clock()
        for attempt, is_final in zip(ended, final, strict=True):
            if isinstance(attempt.result, Receipt):
                self._attempts.labels(scope.provider, "success", "").inc()
                self._deliveries.labels(scope.channel, "success").inc()
                self._seconds.labels(scope.channel).observe(max(0.0, (now - attempt.claimed.since).total_seconds()))
                continue
            self._attempts.labels(scope.provider, "failed", attempt.result.reason.value).inc()
            if is_final:
                self._deliveries.labels(scope.channel, "failed").inc()
            # A refusal of ours is final only by its age, except for a test, which is tried once.
            late = attempt.result.reason in WAITING and not attempt.once
            if is_final and (late or attempt.result.reason is Reason.EXPIRED):
                self._expired.inc()

    def expired(self, count: int) -> None:
        self._expired.inc(count)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


def _cause(error: str) -> str:
    # Leave out the other event's id and the route's name: each would make a new series.
    return error.split()[0] if error.startswith((DUPLICATE, ROUTE_PREFIX)) else error


class _QueueCollector:
    """Read the queue when Prometheus scrapes; `alertctl_database_up` is 0 when the database doesn't answer."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime], check_database: Callable[[], None], channels: Collection[str]
    ) -> None:
        self._store = store
        self._clock = clock
        self._check_database = check_database
        self._channels = channels

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = partial(GaugeMetricFamily, "alertctl_database_up", "1 while the database accepts writes")
        try:
            self._check_database()
            queue = self._store.read(delivery_log.queue_status, self._clock(), self._channels)
        except Unreachable:
            yield up(value=0)
            return
        depth = GaugeMetricFamily("alertctl_queue_depth", "Deliveries without a final status", labels=["channel"])
        for channel, waiting in queue.depth.items():
            depth.add_metric([channel], waiting)
        late = "Seconds since the oldest due delivery of an enabled channel became due"
        oldest = GaugeMetricFamily("alertctl_oldest_due_seconds", late, value=queue.oldest_due_seconds)
        paused = GaugeMetricFamily("alertctl_paused", "1 while calls to a provider are paused", labels=["provider"])
        for provider in sorted({pause.provider for pause in queue.paused}):
            paused.add_metric([provider], 1)
        yield from (up(value=1), depth, oldest, paused, *_breaker_gauges(queue.paused))


def _breaker_gauges(paused: Sequence[Paused]) -> Iterator[GaugeMetricFamily]:
    """Yield the open circuit breakers of all running daemons on this database."""
    gauge = partial(GaugeMetricFamily, labels=["provider", "code", "host", "pid"])
    opened = gauge("alertctl_breaker_open", "1 while a daemon's circuit breaker is open")
    since = gauge("alertctl_breaker_since_seconds", "Unix time when the circuit breaker opened")
    next_probe = gauge("alertctl_breaker_next_probe_seconds", "Unix time of the circuit breaker's next probe")
    for pause in paused:
        if pause.breaker:
            labels = [pause.provider, pause.code, pause.host or "", str(pause.pid or "")]
            opened.add_metric(labels, 1)
            since.add_metric(labels, pause.since.timestamp())
            next_probe.add_metric(labels, pause.until.timestamp())
    yield from (opened, since, next_probe)
