"""One channel's worker: record results and claim due deliveries in one transaction, then send."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlmodel import SQLModel

from alertctl import outbox
from alertctl.channels.base import Channel, OutgoingMessage, Receipt, SendResult
from alertctl.db import TransactionRunner
from alertctl.dispatcher.circuit_breaker import CircuitBreaker
from alertctl.dispatcher.options import IN_HAND, DispatchCounts, DispatchOptions
from alertctl.dispatcher.rate_limit import RateLimiter
from alertctl.dispatcher.sender_pool import RESERVED, Job, Senders
from alertctl.errors import AlertctlError, DeliveryError, Reason, Unreachable
from alertctl.events import restore
from alertctl.models import Event, Priority
from alertctl.outbox import AttemptResult, Claim, Claimed, ClaimScope, Instance

log = logging.getLogger("alertctl.dispatcher")
event = SQLModel.metadata.tables[str(Event.__tablename__)]
_EVENTS = select(event).where(event.c.id.in_(bindparam("ids", expanding=True)))
Observe = Callable[[ClaimScope, Sequence[AttemptResult], Sequence[bool]], None]
"""Called with attempts that ended, and for each whether its delivery is final."""

POLL = 2.0
"""Seconds after which a worker looks for due deliveries without being woken."""
LINGER = 0.01
"""Seconds that results gather before they are written together."""
GATHER = 64
"""Results that are written at once without waiting for more."""
CLAIM = 1000
"""Rows that one claim takes at most (SendGrid accepts that many recipients in a request)."""
LONGEST_BACKOFF = 5.0
"""Seconds between two tries to reach a database that is away."""


class ChannelWorker:
    """Claims, sends and records for one channel, on one thread and its senders."""

    def __init__(
        self,
        where: ClaimScope,
        channel: Channel,
        connect: TransactionRunner,
        policy: DispatchOptions,
        clock: Callable[[], datetime],
        pace: RateLimiter | None,
        breaker: CircuitBreaker,
        observe: Observe,
        instance: Instance | None,
    ) -> None:
        """`instance` is set in a daemon, which reports its open breaker to the database."""
        self.name = where.channel
        self.tally = DispatchCounts()
        self.trouble: Exception | None = None
        self._where, self._channel, self._connect, self._policy = where, channel, connect, policy
        self._clock, self._pace, self._breaker, self._observe = clock, pace, breaker, observe
        self._instance = instance
        self._reported_at: float | None = None
        self._changed = threading.Condition()
        self._ended: list[AttemptResult] = []
        self._unsent: list[Claimed] = []
        self._jobs_out = 0
        self._lease_ends = 0.0
        self._woken = False
        self._stopping = False
        self._refused_before = False
        self._senders = Senders(self.name, policy.senders, self._send, self._finish)
        self._thread = threading.Thread(target=self._run, name=f"alertctl-{self.name}-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look for due deliveries now."""
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
        """Work until nothing is due and nobody waits for its turn; an exception is kept in `trouble`.

        `publish` writes an event and returns its id. Its delivery is claimed in the same transaction, before another
        process can take it, and nothing else is sent.
        """
        try:
            if publish is not None:
                self._publish_and_claim(publish)
            while True:
                claim = self._turn_within_lease()
                if self._busy():
                    self._gather(POLL)
                elif not claim.taken:
                    turn_in = self._pace.horizon() if self._pace else 0.0
                    if turn_in <= 0 or claim.paused_until is not None or self._breaker.refusal is not None:
                        return
                    time.sleep(min(turn_in + 0.01, POLL))
        except Exception as error:
            self.trouble = error
        finally:
            self._senders.close()

    def _publish_and_claim(self, publish: Callable[[Connection], str]) -> None:
        def exchange(connection: Connection) -> tuple[Claim, dict[str, Any], list[bool]]:
            self._where = replace(self._where, event_id=publish(connection))
            return self._exchange(connection, (), ())

        self._hand_out(*self._connect.write(exchange)[:2])

    def _busy(self) -> bool:
        return bool(self._jobs_out or self._ended or self._unsent)

    def _turn_within_lease(self) -> Claim:
        """Take a turn; while results are unwritten, a database that is busy or away is tried until their lease ends."""
        backoff = 0.05
        while True:
            try:
                return self._turn()
            except Unreachable:
                if not self._ended or time.monotonic() >= self._lease_ends:
                    raise
            time.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _run(self) -> None:
        backoff = 0.0
        while not self._stopping:
            try:
                claim = self._turn()
                backoff = 0.0
                self._gather(0.0 if claim.deferred else self._until_next(claim))
            except Unreachable as error:
                backoff = min(backoff * 2 or 0.25, LONGEST_BACKOFF)
                log.warning("%s: %s; next try in %.1f s", self.name, error, backoff)
                self._sleep(backoff)
            except Exception:
                # A worker must outlive a mistake of ours: what it had claimed falls due again by its lease.
                log.exception("%s: unexpected", self.name)
                self._sleep(POLL)
        self._wind_up()

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _until_next(self, claim: Claim) -> float:
        """Return the seconds until there may be something to do, if nothing wakes us."""
        until = POLL
        for moment in (claim.paused_until, claim.next_due):
            if moment is not None:
                until = min(until, (moment - self._clock()).total_seconds())
        if self._breaker.refusal is not None:
            until = min(POLL, self._breaker.seconds_to_probe(time.monotonic()))
        return max(until, 0.0)

    def _turn(self) -> Claim:
        """Write what has ended and claim what is due, in one transaction; hand it to the senders."""
        with self._changed:
            ended, self._ended = self._ended, []
            unsent, self._unsent = self._unsent, []
            self._woken = False
        try:
            exchanged = self._connect.write(lambda connection: self._exchange(connection, ended, unsent))
        except BaseException:
            with self._changed:
                self._ended, self._unsent = ended + self._ended, unsent + self._unsent
            raise
        claim, events, final = exchanged
        if ended:
            self._account(ended, final)
        self._log_breaker()
        self._hand_out(claim, events)
        return claim

    def _hand_out(self, claim: Claim, events: dict[str, Any]) -> None:
        if not claim.taken:
            return
        now = time.monotonic()
        self._lease_ends = now + self._policy.lease
        jobs = self._jobs(claim.taken, events, probe=self._breaker.start(now))
        with self._changed:
            self._jobs_out += len(jobs)
        self._senders.put(jobs)

    def _exchange(
        self, connection: Connection, ended: Sequence[AttemptResult], unsent: Sequence[Claimed]
    ) -> tuple[Claim, dict[str, Any], list[bool]]:
        now = self._clock()
        final: list[bool] = []
        if ended:
            policy = self._policy
            final = outbox.record(connection, self._where, ended, policy.schedule, policy.max_age, now, random.random)
            self._request_probes(connection, ended)
        if unsent:
            outbox.release(connection, unsent)
        self._sync_breaker(connection, now)
        limits = self._limits()
        if not any(limits):
            return Claim(), {}, final
        claim = outbox.claim(connection, self._where, limits, now, self._policy.lease, self._turn_of)
        ids = {claimed.event_id for claimed in claim.taken}
        rows = connection.execute(_EVENTS, {"ids": list(ids)}).all() if ids else []
        return claim, {row.id: row for row in rows}, final

    def _turn_of(self, claimed: Claimed) -> float:
        """Return the seconds until a delivery's turn at its address; a fresh critical alert doesn't wait for it."""
        if self._pace is None:
            return 0.0
        at_once = claimed.urgency == Priority.CRITICAL and not self._breaker.is_ramping
        return self._pace.wait(claimed, at_once=at_once)

    def _request_probes(self, connection: Connection, ended: Sequence[AttemptResult]) -> None:
        """Ask all instances to probe when a person's own command or test got through."""
        if self._instance is None and any(isinstance(attempt.result, Receipt) for attempt in ended):
            outbox.request_probes(connection, [self._where.provider])

    def _sync_breaker(self, connection: Connection, now: datetime) -> None:
        """Report an open breaker and look whether somebody asked for a probe; remove the report of a closed one."""
        refusal, monotonic = self._breaker.refusal, time.monotonic()
        if refusal is not None:
            number = outbox.probe_request_number(connection, self._where.provider)
            self._breaker.request_probe(number, monotonic)
        if self._instance is None:
            return
        due = self._reported_at is None or monotonic - self._reported_at >= outbox.REPORT_SECONDS
        if refusal is not None and due:
            probe_at = self._breaker.next_probe_at(monotonic, now)
            outbox.save_report(
                connection, self._instance, self._where.provider, refusal.code, self._breaker.since, probe_at, now
            )
            self._reported_at = monotonic
        elif refusal is None and self._reported_at is not None:
            outbox.remove_report(connection, self._instance, self._where.provider, now)
            self._reported_at = None

    def _limits(self) -> tuple[int, ...]:
        """Return how many deliveries to claim at most, by urgency: enough for all threads, and behind stalled ones
        still room for critical alerts, which have threads of their own."""
        if self._stopping:
            return (0,) * len(Priority.ALL)
        allowed = self._breaker.allowance(self._jobs_out, time.monotonic())
        full = IN_HAND * self._policy.senders
        critical, normal = (self._room(room, allowed) for room in (full + 2 * RESERVED, full))
        return critical, critical, normal, normal

    def _room(self, full: int, allowed: int | None) -> int:
        """Return how many deliveries to claim until `full` jobs are out; a probe and a ramp count each by itself."""
        jobs = max(0, full - self._jobs_out)
        if allowed is not None and (self._breaker.refusal or self._breaker.is_ramping):
            return min(jobs, allowed)
        jobs = jobs if allowed is None else min(jobs, allowed)
        return min(jobs * self._channel.batch_size, max(CLAIM, jobs))

    def _jobs(self, taken: Sequence[Claimed], events: dict[str, Any], *, probe: bool) -> list[Job]:
        """Group deliveries of one event that were claimed together, as far as the channel allows."""
        expires = self._lease_ends
        size, jobs = self._channel.batch_size, []
        if size == 1:
            return [Job(events[claimed.event_id], (claimed,), expires, probe) for claimed in taken]

        def key(claimed: Claimed) -> tuple[int, str, bool]:
            return claimed.urgency, claimed.event_id, claimed.plain

        for (_, event_id, _), group in groupby(sorted(taken, key=key), key=key):
            together = tuple(group)
            for start in range(0, len(together), size):
                jobs.append(Job(events[event_id], together[start : start + size], expires, probe))
        return jobs

    def _send(self, job: Job) -> list[AttemptResult]:
        started = time.monotonic()
        if started >= job.expires:
            # Frozen past the lease: somebody else has it by now.
            return []
        once = job.event.is_test
        if job.event.expires_at is not None and self._clock() >= job.event.expires_at:
            late = DeliveryError(Reason.EXPIRED, "expired", detail=f"not sent: it expired at {job.event.expires_at}")
            return [AttemptResult(claimed, late, None) for claimed in job.claimed]
        if not self._breaker.may_send(probe=job.probe):
            with self._changed:
                self._unsent += job.claimed
            return []
        messages = [OutgoingMessage(claimed.delivery_id, claimed.address, claimed.plain) for claimed in job.claimed]
        verdicts = self._verdicts(job, messages)
        ended = time.monotonic()
        self._breaker.record(verdicts, probe=job.probe, now=ended, clock=self._clock())
        took = round((ended - started) * 1000)
        return [
            AttemptResult(claimed, result, took, once) for claimed, result in zip(job.claimed, verdicts, strict=True)
        ]

    def _verdicts(self, job: Job, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        try:
            return self._channel.send(restore(job.event, self._clock()), messages)
        except (OSError, MemoryError) as error:
            # Ours, not the provider's: a full disk, no memory, no file descriptors.
            log.exception("%s: this machine failed", self.name)
            code = "out_of_memory" if isinstance(error, MemoryError) else "local_error"
            failure = DeliveryError(Reason.LOCAL, code, detail=f"{type(error).__name__}: {error}"[:200])
        except Exception as error:
            # A mistake of ours must not end a sender; whether the message went out nobody knows.
            log.exception("%s: unexpected", self.name)
            failure = DeliveryError(Reason.AMBIGUOUS, "internal_error", detail=type(error).__name__)
        return [failure] * len(messages)

    def _finish(self, ended: list[AttemptResult]) -> None:
        with self._changed:
            self._ended += ended
            self._jobs_out -= 1
            # Waking the worker for every single result would cost more than writing it.
            if self._enough() or len(self._ended) == len(ended):
                self._changed.notify_all()

    def _enough(self) -> bool:
        """Whether the results that are in are worth writing without waiting for more."""
        return not self._jobs_out or len(self._ended) >= GATHER

    def _gather(self, idle: float) -> None:
        """Wait for results or a wake-up (`idle` seconds at most), then a moment longer for more results."""
        with self._changed:
            seconds = min(idle, 1.0) if self._jobs_out and self._breaker.is_limited else idle
            self._changed.wait_for(lambda: self._woken or self._stopping or self._ended or self._unsent, seconds)
            if self._ended and not self._woken:
                self._changed.wait_for(lambda: self._woken or self._stopping or self._enough(), LINGER)

    def _log_breaker(self) -> None:
        refusal, provider = self._breaker.refusal, self._where.provider
        if refusal is not None and not self._refused_before:
            log.warning(
                "%s refused our credentials or settings (%s). Its deliveries wait; run alertctl doctor.",
                provider,
                refusal.code,
            )
        elif refusal is None and self._refused_before:
            log.info("%s accepts messages again; its deliveries go on", provider)
        self._refused_before = refusal is not None

    def _account(self, ended: Sequence[AttemptResult], final: Sequence[bool]) -> None:
        success = sum(isinstance(attempt.result, Receipt) for attempt in ended)
        failed = sum(final) - success
        self.tally += DispatchCounts(len(ended), success, len(ended) - success - failed, failed)
        self._observe(self._where, ended, final)

    def _wind_up(self) -> None:
        """Give back what no thread has begun with, wait for what is in flight, write it down."""
        jobs = self._senders.drain()
        with self._changed:
            self._jobs_out -= len(jobs)
            self._unsent += [claimed for job in jobs for claimed in job.claimed]
        self._senders.close()
        deadline = time.monotonic() + self._channel.deadline + 1
        try:
            if self._unsent:
                self._turn()
            with self._changed:
                self._changed.wait_for(lambda: self._jobs_out <= 0, max(0.0, deadline - time.monotonic()))
            self._turn_within_lease()
            self._connect.write(self._remove_report)
        except AlertctlError as error:
            log.warning("%s: %s; what was in flight falls due again by itself", self.name, error)

    def _remove_report(self, connection: Connection) -> None:
        if self._instance is not None and self._reported_at is not None:
            outbox.remove_report(connection, self._instance, self._where.provider, self._clock())
