"""Where an alert leaves: claims due deliveries, sends them with a few threads a channel, records the results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from alertctl.channels.base import Channel
from alertctl.db import TransactionRunner
from alertctl.dispatcher.circuit_breaker import CircuitBreaker
from alertctl.dispatcher.options import DispatchCounts, DispatchOptions
from alertctl.dispatcher.rate_limit import RateLimiter
from alertctl.dispatcher.worker import ChannelWorker, Observe
from alertctl.outbox import AttemptResult, ClaimScope, Instance
from alertctl.schemas import EventReceipt

__all__ = ["DispatchCounts", "DispatchOptions", "Dispatcher", "Observe"]


def _nobody(_lane: ClaimScope, _ended: Sequence[AttemptResult], _final: Sequence[bool]) -> None:
    pass


class Dispatcher:
    """One worker for each channel, so that one slow provider can't starve the other.

    `run_once` works through what is due and returns; `start` and `stop` are the daemon's.
    """

    def __init__(
        self,
        connect: TransactionRunner,
        channels: Mapping[str, Channel],
        policy: DispatchOptions,
        clock: Callable[[], datetime],
        observe: Observe = _nobody,
    ) -> None:
        self._connect, self._channels, self._policy = connect, channels, policy
        self._clock, self._observe = clock, observe
        self._paces = {name: RateLimiter(*limit) for name, limit in policy.rate_limits.items() if limit.per_second}
        self._breakers = {name: CircuitBreaker() for name in channels}
        self._workers: list[ChannelWorker] = []

    def run_once(self, event_id: str | None = None) -> DispatchCounts:
        """Send what is due, or one event's own deliveries (unpaced), until nothing is left. Raises Unreachable."""
        workers = [self._worker(name, event_id, self._breakers[name]) for name in self._channels]
        threads = [threading.Thread(target=worker.run_until_idle, name=f"alertctl-{worker.name}") for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for worker in workers:
            if worker.trouble is not None:
                raise worker.trouble
        return sum((worker.tally for worker in workers), DispatchCounts())

    def send_now(self, name: str, publish: Callable[[Connection], str]) -> None:
        """Publish one event for channel `name` and call its provider at once, whatever its circuit breaker says.

        `publish` returns the event's id; no other process can claim its delivery first. Raises what it raised, or
        Unreachable. A success asks every instance, this one included, to probe.
        """
        worker = self._worker(name, "", CircuitBreaker())
        worker.run_until_idle(publish)
        if worker.trouble is not None:
            raise worker.trouble

    def start(self) -> None:
        instance = Instance.current()
        self._workers = [self._worker(name, None, self._breakers[name], instance) for name in self._channels]
        for worker in self._workers:
            worker.start()

    def wake(self, receipt: EventReceipt | None = None) -> None:
        """Look for due deliveries now, for the channels of this event if it is known. Cheap, from any thread."""
        for worker in self._workers:
            if receipt is None or any(item.channel == worker.name for item in receipt.deliveries):
                worker.wake()

    def stop(self, grace: float) -> None:
        """Finish what is in flight within `grace` seconds, give the rest back uncounted."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(grace)

    @property
    def alive(self) -> bool:
        """Whether every worker's thread still works."""
        return all(worker.alive for worker in self._workers)

    @property
    def paused(self) -> dict[str, datetime]:
        """The channels whose circuit breaker is open in this process, and since when."""
        return {name: breaker.since for name, breaker in self._breakers.items() if breaker.refusal is not None}

    def _worker(
        self, name: str, event_id: str | None, breaker: CircuitBreaker, instance: Instance | None = None
    ) -> ChannelWorker:
        channel = self._channels[name]
        pace = self._paces.get(name) if event_id is None else None
        where = ClaimScope(name, channel.provider, event_id)
        return ChannelWorker(
            where, channel, self._connect, self._policy, self._clock, pace, breaker, self._observe, instance
        )
