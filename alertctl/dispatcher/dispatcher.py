"""The dispatcher: one worker for each channel."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from alertctl.channels.base import Channel, ThreadedChannel
from alertctl.db import TransactionRunner
from alertctl.dispatcher.circuit_breaker import CircuitBreaker
from alertctl.dispatcher.options import DispatchOptions
from alertctl.dispatcher.rate_limit import RateLimiter
from alertctl.dispatcher.threads import RootEditor
from alertctl.dispatcher.worker import ChannelWorker, Observe
from alertctl.outbox import ROOT_WAIT_SECONDS, AttemptResult, ClaimScope, Instance
from alertctl.schemas import Dispatched, EventReceipt


class Dispatcher:
    """Sends due deliveries with one worker for each channel, so that a slow provider doesn't delay the others.

    `run_once` sends what is due and returns; a daemon uses `start` and `stop`.
    """

    def __init__(
        self,
        connect: TransactionRunner,
        channels: Mapping[str, Channel],
        options: DispatchOptions,
        clock: Callable[[], datetime],
        observe: Observe | None = None,
        is_clock_trusted: Callable[[], bool] = lambda: True,
    ) -> None:
        """While `is_clock_trusted` returns False, nothing expires."""
        self._connect = connect
        self._channels = channels
        self._options = options
        self._clock, self._observe = clock, observe
        self._is_clock_trusted = is_clock_trusted
        self._rate_limiters = {name: RateLimiter(*limit) for name, limit in options.rate_limits.items()}
        self._breakers = {name: CircuitBreaker() for name in channels}
        self._workers: list[ChannelWorker] = []
        self._editors = {
            name: RootEditor(name, channel, connect, clock, options, self._breakers[name])
            for name, channel in channels.items()
            if name in options.threads and isinstance(channel, ThreadedChannel)
        }

    def run_once(self, event_id: str | None = None) -> Dispatched:
        """Send all that is due, or one event's deliveries without rate limit. Raises Unreachable.

        Then edit the roots of threads that got a reply: for an event in the background (`wait_for_edits`), else for
        a few seconds at most.
        """
        workers = [self._worker(name, event_id, self._breakers[name]) for name in self._channels]
        # Daemon threads: Ctrl-C doesn't wait for a mail server that takes minutes to answer.
        threads = [
            threading.Thread(target=worker.run_until_idle, name=f"alertctl-{worker.name}", daemon=True)
            for worker in workers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for worker in workers:
            if worker.error is not None:
                raise worker.error
        for editor in self._editors.values():
            if event_id is None:
                editor.run_once()
            else:
                editor.start_edits_of(event_id)
        counts = sum((worker.counts for worker in workers), Counter[str]())
        return Dispatched(
            attempted=counts["attempted"],
            success=counts["success"],
            retrying=counts["retrying"],
            failed=counts["failed"],
        )

    def wait_for_edits(self) -> None:
        """Wait until the roots of threads show the events of `run_once`, for some ten seconds at most."""
        for editor in self._editors.values():
            editor.wait()

    def stop_edits(self) -> None:
        """Begin no more edits. Those that are due stay due."""
        for editor in self._editors.values():
            editor.stop()

    def send_now(self, name: str, publish: Callable[[Connection], str]) -> None:
        """Publish one event for channel `name` and call its provider at once, even if its circuit breaker is open.

        `publish` returns the event's id; no other process can claim its delivery first. Raises its exceptions, and
        Unreachable. A success asks every instance, this one included, to probe.
        """
        worker = self._worker(name, "", CircuitBreaker())
        worker.run_until_idle(publish)
        if worker.error is not None:
            raise worker.error

    def start(self) -> None:
        """Start the workers' threads."""
        instance = Instance.current()
        self._workers = [self._worker(name, None, self._breakers[name], instance) for name in self._channels]
        for worker in self._workers:
            worker.start()
        for editor in self._editors.values():
            editor.start()

    def wake(self, receipt: EventReceipt | None = None) -> None:
        """Look for due deliveries now, for the channels of this event if it is known. Cheap, from any thread."""
        for worker in self._workers:
            if receipt is None or any(item.channel == worker.name for item in receipt.deliveries):
                worker.wake()

    def probe(self, name: str) -> None:
        """Let channel `name` probe its provider now, if its circuit breaker is open."""
        self._breakers[name].probe_now()
        self.wake()

    def stop(self, grace: float) -> None:
        """Finish the deliveries in flight within `grace` seconds, and release the rest uncounted."""
        self.stop_edits()
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(grace)

    @property
    def alive(self) -> bool:
        """Whether every worker's thread runs."""
        return all(worker.alive for worker in self._workers)

    @property
    def paused(self) -> dict[str, datetime]:
        """The channels whose circuit breaker is open in this process, and since when."""
        return {name: breaker.since for name, breaker in self._breakers.items() if breaker.refusal is not None}

    def _worker(
        self, name: str, event_id: str | None, breaker: CircuitBreaker, instance: Instance | None = None
    ) -> ChannelWorker:
        channel = self._channels[name]
        rate_limiter = self._rate_limiters.get(name) if event_id is None else None
        scope = ClaimScope(
            name,
            channel.provider,
            event_id,
            threads=self._options.threads.get(name) if name in self._editors else None,
            # A command doesn't wait longer than for its own message.
            root_wait=ROOT_WAIT_SECONDS if event_id is None else min(ROOT_WAIT_SECONDS, channel.deadline),
        )
        return ChannelWorker(
            scope,
            channel,
            self._connect,
            self._options,
            self._clock,
            rate_limiter,
            breaker,
            self._ended,
            instance,
            self._is_clock_trusted,
        )

    def _ended(self, scope: ClaimScope, results: Sequence[AttemptResult], final: Sequence[bool]) -> None:
        """Observe results, and let the editor look for roots to edit after replies."""
        if self._observe is not None:
            self._observe(scope, results, final)
        if scope.channel in self._editors and any(result.claimed.reply_to for result in results):
            self._editors[scope.channel].wake()
