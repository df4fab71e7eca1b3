"""One channel's worker: record results and claim due deliveries in one transaction, then send."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from alertctl import outbox
from alertctl.channels.base import Channel, Receipt, SendResult, with_note
from alertctl.db import TransactionRunner
from alertctl.dispatcher.breaker_reporter import BreakerReporter
from alertctl.dispatcher.circuit_breaker import CircuitBreaker
from alertctl.dispatcher.options import IN_HAND, DispatchOptions
from alertctl.dispatcher.people import People
from alertctl.dispatcher.rate_limit import RateLimiter
from alertctl.dispatcher.sender_pool import RESERVED, Job, SenderPool, group_jobs
from alertctl.errors import AlertctlError, DeliveryError, Reason, Unreachable
from alertctl.events import restore
from alertctl.models import Priority
from alertctl.outbox import AttemptResult, Claim, Claimed, ClaimScope, Instance

log = logging.getLogger("alertctl.dispatcher")
Observe = Callable[[ClaimScope, Sequence[AttemptResult], Sequence[bool]], None]
"""Called with attempts that ended, and for each whether its delivery is final."""

POLL = 2.0
"""Seconds after which a worker looks for due deliveries unless it is woken earlier."""
LINGER = 0.01
"""Seconds that results are collected before they are written together."""
GATHER = 64
"""Results that are written at once without waiting for more."""
CLAIM = 1000
"""Deliveries that one claim takes at most (SendGrid accepts that many recipients in a request)."""
GRACE_SECONDS = 25.0
"""Seconds that a daemon which stops waits for sends in progress: a mail server may need longer than a deadline."""
LONGEST_BACKOFF = 5.0
"""Seconds between two tries to reach a database, at most."""


class ChannelWorker:
    """Claims, sends and records the deliveries of one channel, on its own thread and a pool of senders."""

    def __init__(
        self,
        scope: ClaimScope,
        channel: Channel,
        connect: TransactionRunner,
        options: DispatchOptions,
        clock: Callable[[], datetime],
        rate_limiter: RateLimiter | None,
        breaker: CircuitBreaker,
        observe: Observe,
        instance: Instance | None,
        is_clock_trusted: Callable[[], bool],
    ) -> None:
        """`instance` is set in a daemon, which reports its open breaker to the database."""
        self.name = scope.channel
        self.counts = Counter[str]()
        self.error: Exception | None = None
        self._scope, self._channel = scope, channel
        self._connect, self._options = connect, options
        self._clock, self._rate_limiter = clock, rate_limiter
        self._is_clock_trusted = is_clock_trusted
        self._breaker, self._observe = breaker, observe
        self._reporter = BreakerReporter(breaker, scope.provider, instance)
        self._people = People(scope.channel, channel, clock)
        self._changed = threading.Condition()
        self._results: list[AttemptResult] = []
        self._unsent: list[Claimed] = []
        self._woken = self._stopping = False
        self._senders = SenderPool(self.name, options.senders, options.lease, self._send)
        self._thread = threading.Thread(target=self._run, name=f"alertctl-{self.name}-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look for due deliveries now. While the breaker waits for its next probe, only the regular poll looks."""
        if self._breaker.refusal is not None and self._breaker.seconds_to_probe(time.monotonic()) > 0:
            return
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, grace: float) -> None:
        self._thread.join(grace)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def run_until_idle(self, publish: Callable[[Connection], str] | None = None) -> None:
        """Work until nothing is due or waits for its turn. An exception is kept in `error`.

        `publish` writes an event and returns its id. Its delivery is claimed in the same transaction, before another
        process can take it, and nothing else is sent.
        """
        try:
            if publish is not None:
                self._publish_and_claim(publish)
            root_wait_ends = 0.0
            while True:
                claim = self._run_transaction_within_lease()
                if claim.waiting:
                    root_wait_ends = time.monotonic() + outbox.RETRY_SECONDS
                if self._senders or self._results or self._unsent:
                    self._gather(POLL)
                elif not claim.taken and not claim.waiting:
                    turn_in = self._rate_limiter.horizon() if self._rate_limiter else 0.0
                    turn_in = max(turn_in, root_wait_ends - time.monotonic())
                    if turn_in <= 0 or claim.paused_until is not None or self._breaker.refusal is not None:
                        return
                    time.sleep(min(turn_in + 0.01, POLL))
        except Exception as error:
            self.error = error
        finally:
            self._senders.close()

    def _publish_and_claim(self, publish: Callable[[Connection], str]) -> None:
        def publish_and_claim(connection: Connection) -> Claim:
            self._scope = replace(self._scope, event_id=publish(connection))
            return self._record_and_claim(connection, (), ())[0]

        self._hand_out(self._connect.write(publish_and_claim))

    def _run_transaction_within_lease(self) -> Claim:
        """Run a transaction. With jobs in hand, try a database that is busy or away until their lease ends."""
        backoff = 0.05
        while True:
            try:
                return self._run_transaction()
            except Unreachable:
                if not (self._results or self._senders) or time.monotonic() >= self._senders.lease_ends:
                    raise
            time.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _run(self) -> None:
        backoff = 0.0
        while not self._stopping:
            try:
                claim = self._run_transaction()
                backoff = 0.0
                self._gather(0.0 if claim.deferred else self._until_next(claim))
            except Unreachable as error:
                backoff = min(backoff * 2 or 0.25, LONGEST_BACKOFF)
                log.warning("%s: %s; next try in %.1f s", self.name, error, backoff)
                self._sleep(backoff)
            except Exception:
                # A bug must not end a worker: its claims fall due again when their lease ends.
                log.exception("%s: unexpected error", self.name)
                self._sleep(POLL)
        self._shut_down()

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _until_next(self, claim: Claim) -> float:
        """Return the seconds until there may be something to do, unless the worker is woken."""
        until = POLL
        for moment in (claim.paused_until, claim.next_due):
            if moment is not None:
                until = min(until, (moment - self._clock()).total_seconds())
        if self._breaker.refusal is not None:
            # A probe that may go now is in flight already, or nothing is due: its result or a new alert wakes us.
            until = min(POLL, self._breaker.seconds_to_probe(time.monotonic()) or POLL)
        return max(until, 0.0)

    def _run_transaction(self) -> Claim:
        """Record results and claim due deliveries in one transaction, then hand the claimed ones to the senders."""
        # Other processes may send the jobs that wait here because all threads are stalled.
        waiting = self._senders.take_back(self._senders.renewal_time)
        with self._changed:
            results, self._results = self._results, []
            unsent, self._unsent = self._unsent + waiting, []
            self._woken = False
        try:
            claim, final = self._connect.write(lambda connection: self._record_and_claim(connection, results, unsent))
        except BaseException:
            with self._changed:
                self._results, self._unsent = results + self._results, unsent + self._unsent
            raise
        if results:
            self._count(results, final)
        self._senders.confirm()
        self._reporter.log_change()
        self._hand_out(claim)
        return claim

    def _hand_out(self, claim: Claim) -> None:
        if not claim.taken:
            return
        now = time.monotonic()
        self._senders.lease_ends = now + self._options.lease
        probe = self._breaker.start(now)
        size, expires = self._channel.batch_size, self._senders.lease_ends
        self._senders.put(group_jobs(claim.taken, claim.events, size, expires, probe=probe))

    def _record_and_claim(
        self, connection: Connection, results: Sequence[AttemptResult], unsent: Sequence[Claimed]
    ) -> tuple[Claim, list[bool]]:
        now = self._clock()
        final: list[bool] = []
        if results:
            schedule = self._options.schedule
            max_age = self._options.max_age if self._is_clock_trusted() else math.inf
            final = outbox.record(connection, self._scope, results, schedule, max_age, now, random.random)
            self._reporter.request_probes(connection, results)
        if unsent:
            outbox.release(connection, unsent)
        self._senders.renew(connection, now)
        self._reporter.sync(connection, now)
        limits, claim = self._claim_limits(), Claim()
        if any(limits):
            probe = self._breaker.refusal is not None
            claim = outbox.claim(
                connection, self._scope, limits, now, self._options.lease, self._seconds_to_turn, probe=probe
            )
        self._people.sync(connection, claim.taken)
        return claim, final

    def _seconds_to_turn(self, claimed: Claimed) -> float:
        """Return the seconds until a delivery's turn at its address; a fresh critical alert doesn't wait for it."""
        if self._rate_limiter is None:
            return 0.0
        at_once = claimed.priority == Priority.CRITICAL and not self._breaker.is_ramping
        return self._rate_limiter.wait(claimed, at_once=at_once)

    def _claim_limits(self) -> tuple[int, ...]:
        """Return how many deliveries to claim at most, by priority.

        Enough for all threads; and while these are stalled, some critical alerts, which have threads of their own.
        """
        if self._stopping:
            return (0,) * len(Priority.ALL)
        allowed = self._breaker.allowance(len(self._senders), time.monotonic())
        stalled = self._senders.stalled(self._channel.deadline)
        full = IN_HAND * max(0, self._options.senders - stalled) + stalled
        critical, normal = (self._claim_limit(room, allowed) for room in (full + 2 * RESERVED, full))
        return critical, critical, normal, normal

    def _claim_limit(self, full: int, allowed: int | None) -> int:
        """Return how many deliveries to claim until `full` jobs are in flight.

        For a probe and a ramp each delivery counts, otherwise a batch counts as one.
        """
        jobs = max(0, full - len(self._senders))
        if allowed is not None and (self._breaker.refusal or self._breaker.is_ramping):
            return min(jobs, allowed)
        jobs = jobs if allowed is None else min(jobs, allowed)
        return min(jobs * self._channel.batch_size, max(CLAIM, jobs))

    def _send(self, job: Job) -> None:
        results = self._send_job(job)
        with self._changed:
            self._results += results
            self._senders.finish(job)
            # Waking the worker for every single result would cost more than writing it.
            if self._is_worth_writing() or len(self._results) == len(results):
                self._changed.notify_all()

    def _send_job(self, job: Job) -> list[AttemptResult]:
        started = time.monotonic()
        if started >= job.expires:
            # Suspended past the lease: another process may have claimed it.
            return []
        job.started_at = started
        once = job.event.is_test
        expires_at = job.event.expires_at
        if expires_at is not None and self._clock() >= expires_at and self._is_clock_trusted():
            late = DeliveryError(Reason.EXPIRED, "expired", detail=f"not sent: it expired at {expires_at}")
            return [AttemptResult(claimed, late, None) for claimed in job.claimed]
        if not self._breaker.may_send(probe=job.probe):
            with self._changed:
                self._unsent += job.claimed
            return []
        results = self._call_channel(job)
        finished = time.monotonic()
        refused_before = all(claimed.was_refused for claimed in job.claimed)
        alone = self._breaker.record(
            results, probe=job.probe, refused_before=refused_before, now=finished, clock=self._clock()
        )
        took = round((finished - started) * 1000)
        return [
            AttemptResult(claimed, result, took, once, alone)
            for claimed, result in zip(job.claimed, results, strict=True)
        ]

    def _call_channel(self, job: Job) -> list[SendResult]:
        try:
            content = restore(job.event, self._clock(), self._options.wording)
            return [with_note(result, *content.warnings) for result in self._people.send(content, job.claimed)]
        except (OSError, MemoryError) as error:
            # This machine failed, not the provider: a full disk, no memory, no file descriptors.
            log.exception("%s: failed on this machine", self.name)
            code = "out_of_memory" if isinstance(error, MemoryError) else "local_error"
            failure = DeliveryError(Reason.LOCAL, code, detail=f"{type(error).__name__}: {error}"[:200])
        except Exception as error:
            # A bug must not end a sender. The message may have been sent.
            log.exception("%s: unexpected error", self.name)
            failure = DeliveryError(Reason.AMBIGUOUS, "unexpected", detail=type(error).__name__)
        return [failure] * len(job.claimed)

    def _is_worth_writing(self) -> bool:
        """Return whether to write the results without waiting for more."""
        return not self._senders or len(self._results) >= GATHER

    def _gather(self, idle: float) -> None:
        """Wait for results or a wake-up (`idle` seconds at most), then a moment longer for more results."""
        with self._changed:
            seconds = min(idle, 1.0) if self._senders and self._breaker.is_limited else idle
            if self._senders:
                seconds = min(seconds, self._senders.check_seconds)
            self._changed.wait_for(lambda: self._woken or self._stopping or self._results or self._unsent, seconds)
            if self._results and not self._woken:
                self._changed.wait_for(lambda: self._woken or self._stopping or self._is_worth_writing(), LINGER)

    def _count(self, results: Sequence[AttemptResult], final: Sequence[bool]) -> None:
        attempted, success = len(results), sum(isinstance(attempt.result, Receipt) for attempt in results)
        failed = sum(final) - success
        self.counts.update(attempted=attempted, success=success, retrying=attempted - success - failed, failed=failed)
        self._observe(self._scope, results, final)

    def _shut_down(self) -> None:
        """Release the jobs that no thread has started, wait for those in flight, and record their results."""
        with self._changed:
            self._unsent += self._senders.take_back()
        self._senders.close()
        deadline = time.monotonic() + max(self._channel.deadline + 1, GRACE_SECONDS)
        try:
            if self._unsent:
                self._run_transaction()
            with self._changed:
                self._changed.wait_for(lambda: not self._senders, max(0.0, deadline - time.monotonic()))
            self._run_transaction_within_lease()
            self._connect.write(lambda connection: self._reporter.remove_report(connection, self._clock()))
        except AlertctlError as error:
            log.warning("%s: %s; deliveries in flight become due again when their lease ends", self.name, error)
