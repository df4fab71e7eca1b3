"""One channel's way out: record what has ended and claim what is due in one transaction, then send."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlmodel import SQLModel

from alertctl import outbox
from alertctl.channels.base import Channel, Parcel, Receipt, Verdict
from alertctl.dispatcher.pace import Pace
from alertctl.dispatcher.policy import IN_HAND, Policy, Tally
from alertctl.dispatcher.senders import RESERVED, Job, Senders
from alertctl.errors import AlertctlError, DeliveryError, Reason, Unreachable
from alertctl.events import restore
from alertctl.models import Event
from alertctl.outbox import Claim, Claimed, Ended, Lane
from alertctl.store import Connect

log = logging.getLogger("alertctl.dispatcher")
event = SQLModel.metadata.tables[str(Event.__tablename__)]
_EVENTS = select(event).where(event.c.id.in_(bindparam("ids", expanding=True)))
Observe = Callable[[Lane, Sequence[Ended], int], None]
"""Hears what ended, and how many deliveries failed unasked behind an open breaker."""
Exchanged = tuple[Claim, dict[str, Any], list[Any]]
"""What was claimed, its events by id, and the pauses that were opened."""

POLL = 2.0
"""Seconds after which a lane looks for due deliveries without being woken."""
LINGER = 0.01
"""Seconds that results gather before they are written together."""
GATHER = 64
"""Results that are written at once without waiting for more."""
FIRST_ALONE = 1.0
"""After this many idle seconds the first delivery goes alone: a revoked token costs one call, not one a thread."""
CLAIM = 1000
"""Rows that one claim takes at most (SendGrid carries that many in a request)."""


class ChannelLane:
    """Claims, sends and records for one channel, on one thread and its senders."""

    def __init__(
        self,
        where: Lane,
        channel: Channel,
        connect: Connect,
        policy: Policy,
        clock: Callable[[], datetime],
        pace: Pace | None,
        observe: Observe,
    ) -> None:
        self.name = where.channel
        self.tally = Tally()
        self.trouble: Exception | None = None
        self._where, self._channel, self._connect, self._policy = where, channel, connect, policy
        self._clock, self._pace, self._observe = clock, pace, observe
        self._changed = threading.Condition()
        self._ended: list[Ended] = []
        self._jobs_out = 0
        self._woken = False
        self._rode: Collection[str] = ()
        self._stopping = False
        self._proven = False
        self._alone_since = 0.0
        self._last_busy = 0.0
        self._broken: DeliveryError | None = None
        self._senders = Senders(self.name, policy.senders, self._send, self._finish)
        self._thread = threading.Thread(target=self._run, name=f"alertctl-{self.name}-lane", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self, event_id: str | None = None) -> None:
        """Something may be due; of an event that was claimed along with its own commit nothing new."""
        with self._changed:
            if event_id not in self._rode:
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

    def run_until_idle(self) -> None:
        """Work until nothing is due and nobody waits for its turn. What goes wrong ends up in `trouble`."""
        try:
            while True:
                claim = self._turn()
                if self._jobs_out or self._ended:
                    self._gather(POLL)
                elif not (claim.taken or claim.failed):
                    turn_in = self._pace.horizon() if self._pace else 0.0
                    if turn_in <= 0 or claim.paused_until is not None:
                        return
                    time.sleep(min(turn_in + 0.01, POLL))
        except Exception as error:
            self.trouble = error
        finally:
            self._senders.close()

    def _run(self) -> None:
        wait = 0.0
        ride: Future[Exchanged | None] | None = None
        while ride or not self._stopping:
            landed, ride = ride, None
            try:
                claim = self._turn(landed)
                wait, busy = 0.0, bool(claim.failed or claim.deferred)
                ride = self._rest(0.0 if busy else self._until_next(claim))
            except Unreachable as error:
                wait = min(wait * 2 or 0.25, 5.0)
                log.warning("%s: %s; next try in %.1f s", self.name, error, wait)
                self._sleep(wait)
            except Exception:
                # A lane must outlive a mistake of ours: what it had claimed falls due again by its lease.
                log.exception("%s: unexpected", self.name)
                self._sleep(POLL)
        self._wind_up()

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _rest(self, seconds: float) -> Future[Exchanged | None] | None:
        """Wait for something to do. Who has nothing out lets the next commit take a claim along: an alert that comes
        in is claimed as it is recorded. Returns that claim."""
        if self._jobs_out or self._ended:
            self._gather(seconds)
            return None
        deadline = time.monotonic() + seconds
        while True:
            ride = self._connect.ride(self._along)
            ride.add_done_callback(self._landed)
            with self._changed:
                awake = lambda ride=ride: self._woken or self._stopping or ride.done()  # noqa: E731
                self._changed.wait_for(awake, deadline - time.monotonic())
            if ride.cancel():
                return None
            if ride.exception() or ride.result():
                return ride

    def _along(self, connection: Connection) -> Exchanged | None:
        return self._exchange(connection, ()) if outbox.is_due(connection, self._clock(), [self.name]) else None

    def _landed(self, ride: Future[Exchanged | None]) -> None:
        # In the writer's thread, before anybody hears of that commit.
        with self._changed:
            found = None if ride.cancelled() or ride.exception() else ride.result()
            if found is not None:
                self._rode = {one.event_id for one in found[0].taken}
            self._changed.notify_all()

    def _until_next(self, claim: Claim) -> float:
        """Seconds until there may be something to do, if nothing wakes us."""
        until = POLL
        if claim.paused_until is not None:
            until = min(until, (claim.paused_until - self._clock()).total_seconds())
        if claim.next_due is not None:
            until = min(until, (claim.next_due - self._clock()).total_seconds())
        return max(until, 0.0)

    def _turn(self, ride: Future[Exchanged | None] | None = None) -> Claim:
        """Write what has ended and claim what is due, in one transaction; hand it to the senders. A `ride` has done so
        already."""
        if ride is not None and (found := ride.result()) is not None:
            return self._hand_out(found, ())
        with self._changed:
            ended, self._ended = self._ended, []
            self._woken, self._rode = False, ()
        try:
            exchanged = self._connect.write(lambda connection: self._exchange(connection, ended))
        except BaseException:
            with self._changed:
                self._ended = ended + self._ended
            raise
        return self._hand_out(exchanged, ended)

    def _hand_out(self, exchanged: Exchanged, ended: Sequence[Ended]) -> Claim:
        claim, events, pauses = exchanged
        if ended or claim.failed:
            self._account(ended, pauses, claim.failed)
        jobs = self._jobs(claim.taken, events)
        if jobs:
            with self._changed:
                self._jobs_out += len(jobs)
            self._last_busy = time.monotonic()
            self._senders.put(jobs)
        return claim

    def _exchange(self, connection: Connection, ended: Sequence[Ended]) -> Exchanged:
        now = self._clock()
        pauses: list[Any] = []
        if ended:
            pauses = outbox.record(connection, self._where, ended, self._policy.schedule, now, random.random)
        limits = self._limits()
        pace = self._pace.wait if self._pace else outbox.unpaced
        if not any(limits):
            return Claim(), {}, pauses
        claim = outbox.claim(connection, self._where, limits, now, self._policy.lease, pace)
        wanted = {one.event_id for one in claim.taken}
        rows = connection.execute(_EVENTS, {"ids": list(wanted)}).all() if wanted else []
        return claim, {row.id: row for row in rows}, pauses

    def _limits(self) -> tuple[int, int, int]:
        """Deliveries to claim at most, by urgency: enough for all threads, and behind stalled ones still room for
        critical alerts, which have threads of their own."""
        full = IN_HAND * self._policy.senders
        urgent, room = self._room(full + 2 * RESERVED), self._room(full)
        critical, other = (min(jobs * self._channel.batch_size, max(CLAIM, jobs)) for jobs in (urgent, room))
        return critical, other, other

    def _room(self, full: int) -> int:
        """Jobs that may be handed out now until `full` are, or one while the provider is unproven."""
        if self._stopping:
            return 0
        now = time.monotonic()
        if not self._jobs_out and now - self._last_busy > FIRST_ALONE:
            self._proven, self._alone_since = False, now
        if not self._proven:
            # Slow answers are no verdict: after a second one more goes, after two the caution ends.
            alone = now - self._alone_since
            if alone < 2 * FIRST_ALONE:
                return max(0, (1 if alone < FIRST_ALONE else 2) - self._jobs_out)
        return max(0, full - self._jobs_out)

    def _jobs(self, taken: Sequence[Claimed], events: dict[str, Any]) -> list[Job]:
        """Deliveries of one event, claimed together, travel together as far as the channel allows."""
        expires = time.monotonic() + self._policy.lease
        size, jobs = self._channel.batch_size, []
        if size == 1:
            return [Job(events[one.event_id], (one,), expires) for one in taken]
        ordered = sorted(taken, key=lambda one: (one.urgency, one.event_id, one.plain))
        for (_, event_id, _), group in groupby(ordered, key=lambda one: (one.urgency, one.event_id, one.plain)):
            together = tuple(group)
            for start in range(0, len(together), size):
                jobs.append(Job(events[event_id], together[start : start + size], expires))
        return jobs

    def _send(self, job: Job) -> list[Ended]:
        started = time.monotonic()
        if started >= job.expires:
            # Frozen past the lease: somebody else has it by now.
            return []
        if job.event.expires_at is not None and self._clock() >= job.event.expires_at:
            late = DeliveryError(Reason.EXPIRED, "expired", detail=f"not sent: it expired at {job.event.expires_at}")
            return [Ended(one, late, None) for one in job.claimed]
        broken = self._broken
        if broken is not None:
            detail = f"not tried: {self._where.provider} is left alone because of {broken.code}"
            refused = DeliveryError(Reason.CONFIG, broken.code, detail=detail)
            return [Ended(one, refused, None) for one in job.claimed]
        parcels = [Parcel(one.delivery_id, one.address, one.plain) for one in job.claimed]
        verdicts = self._verdicts(job, parcels)
        took = round((time.monotonic() - started) * 1000)
        self._learn(verdicts)
        return [Ended(one, verdict, took) for one, verdict in zip(job.claimed, verdicts, strict=True)]

    def _verdicts(self, job: Job, parcels: Sequence[Parcel]) -> list[Verdict]:
        try:
            return self._channel.send(restore(job.event, self._clock()), parcels)
        except Exception as error:
            # A mistake of ours must not end a sender; whether the message went out nobody knows.
            log.exception("%s: unexpected", self.name)
            lost = DeliveryError(Reason.AMBIGUOUS, "internal_error", detail=type(error).__name__)
            return [lost] * len(parcels)

    def _learn(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            failed_config = isinstance(verdict, DeliveryError) and verdict.reason is Reason.CONFIG
            self._broken = verdict if failed_config and isinstance(verdict, DeliveryError) else None
            if failed_config:
                self._proven, self._alone_since = False, time.monotonic()
            elif isinstance(verdict, Receipt) or verdict.reason in (Reason.BAD_ADDRESS, Reason.REJECTED):
                self._proven = True

    def _finish(self, ended: list[Ended]) -> None:
        with self._changed:
            self._ended += ended
            self._jobs_out -= 1
            self._last_busy = time.monotonic()
            # Waking the lane for every single result would cost more than writing it.
            if self._enough() or len(self._ended) == len(ended):
                self._changed.notify_all()

    def _enough(self) -> bool:
        """Whether the results that are in are worth writing without waiting for more."""
        return not self._jobs_out or len(self._ended) >= GATHER

    def _gather(self, idle: float) -> None:
        """Wait for results or a wake-up (`idle` seconds at most), then a moment longer for more results."""
        with self._changed:
            caution = self._jobs_out and not self._proven
            patience = min(idle, FIRST_ALONE) if caution else idle
            self._changed.wait_for(lambda: self._woken or self._stopping or self._ended, patience)
            if self._ended and not self._woken:
                self._changed.wait_for(lambda: self._woken or self._stopping or self._enough(), LINGER)

    def _account(self, ended: Sequence[Ended], pauses: Sequence[Any], unasked: int) -> None:
        if any(wanted.address is None for wanted in pauses) and self._broken is not None:
            log.warning(
                "%s refuses us (%s): what waits fails without a call until that is mended; then: "
                "alertctl log retry --status failed --error %s",
                self._where.provider,
                self._broken.code,
                self._broken.code,
            )
            self._broken = None
        arrived = sum(isinstance(one.verdict, Receipt) for one in ended)
        final = sum(isinstance(one.verdict, DeliveryError) and self._is_final(one) for one in ended)
        self.tally += Tally(len(ended), arrived, len(ended) - arrived - final, final)
        self._observe(self._where, ended, unasked)

    def _is_final(self, one: Ended) -> bool:
        return not outbox.will_retry(one, self._policy.schedule, self._clock())

    def _wind_up(self) -> None:
        """Give back what wasn't begun with, wait for what is in flight, write it down."""
        jobs = self._senders.drain()
        unsent = [claimed for job in jobs for claimed in job.claimed]
        with self._changed:
            self._jobs_out -= len(jobs)
        self._senders.close()
        try:
            if unsent:
                self._connect.write(lambda connection: outbox.release(connection, unsent, self._clock()))
            deadline = time.monotonic() + self._channel.deadline + 1
            with self._changed:
                self._changed.wait_for(lambda: self._jobs_out <= 0, max(0.0, deadline - time.monotonic()))
            self._turn()
        except AlertctlError as error:
            log.warning("%s: %s; what was in flight falls due again by itself", self.name, error)
