"""Edit the roots of threads to show their subject's current state. No edit delays or fails a delivery."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from alertctl import outbox
from alertctl.channels.base import Receipt, SendResult, ThreadedChannel
from alertctl.db import TransactionRunner
from alertctl.dispatcher.circuit_breaker import CircuitBreaker
from alertctl.dispatcher.options import DispatchOptions
from alertctl.errors import AlertctlError, DeliveryError, Reason
from alertctl.events import restore
from alertctl.outbox import RootEdit
from alertctl.retry import rate_limit_wait

log = logging.getLogger("alertctl.dispatcher")

EDITS_PER_SECOND = 50 / 60
"""Slack allows about 50 edits a minute for all channels of a workspace."""
BURST = 10
"""Edits at once before EDITS_PER_SECOND applies."""
POLL = 10.0
"""Seconds between checks for due edits without a wake-up: edits of a process that ended fall due again."""
ONE_SHOT_SECONDS = 5.0
"""How long a command takes for edits, at most, besides its wait for EDIT_GAP."""
IN_PROGRESS_POLL = 0.25
"""Seconds between checks whether another process has ended its edit of the same root."""
_GAP_SECONDS = outbox.EDIT_GAP.total_seconds()
RETRY_SECONDS = 5.0
"""The wait after a failed edit, doubled with each further failure."""
MAX_FAILURES = 8
NEVER = math.inf
"""The wait for an edit when none will fall due, or the database can't be reached."""


class _Step(NamedTuple):
    """An edit of the thread `edited_id`; without one, the seconds until an edit falls due (`wait`)."""

    edited_id: str | None
    wait: float = 0.0


class RootEditor:
    """Edits the roots of one channel's threads, one after the other, on its own thread."""

    def __init__(
        self,
        name: str,
        channel: ThreadedChannel,
        connect: TransactionRunner,
        clock: Callable[[], datetime],
        options: DispatchOptions,
        breaker: CircuitBreaker,
    ) -> None:
        """While `breaker` is open, nothing is edited."""
        self._name = name
        self._channel = channel
        self._connect = connect
        self._clock = clock
        self._options = options
        self._breaker = breaker
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._next_turn = 0.0
        self._paused_until = 0.0
        self._thread = threading.Thread(target=self._run, name=f"alertctl-{name}-editor", daemon=True)
        self._in_background: list[threading.Thread] = []

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look for due edits now. Cheap, from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """End after the edit in progress, without waiting for it."""
        self._stopped.set()
        self._woken.set()

    def run_once(self) -> None:
        """Make the edits that are due, for ONE_SHOT_SECONDS at most."""
        self._woken.clear()
        # A thread of its own: an edit in progress that takes longer is left to finish, or to its lease's end.
        thread = threading.Thread(target=self._edit_due, daemon=True)
        thread.start()
        thread.join(ONE_SHOT_SECONDS)

    def start_edits_of(self, event_id: str) -> None:
        """Edit the roots of an event's threads in the background, if its messages were replies (`wake`)."""
        if not self._woken.is_set():
            return
        self._woken.clear()
        thread = threading.Thread(target=self._edit_roots_of, args=(event_id,), daemon=True)
        self._in_background = [*(other for other in self._in_background if other.is_alive()), thread]
        thread.start()

    def wait(self) -> None:
        """Wait for the edits in the background, which take EDIT_GAP and ONE_SHOT_SECONDS at most."""
        for thread in self._in_background:
            thread.join(_GAP_SECONDS + ONE_SHOT_SECONDS)

    def _edit_due(self) -> None:
        deadline = time.monotonic() + ONE_SHOT_SECONDS
        while self._delay() <= 0 and time.monotonic() < deadline and self._edit_next().edited_id is not None:
            pass

    def _edit_roots_of(self, event_id: str) -> None:
        """Make the edits that show an event, after EDIT_GAP if another one has just ended.

        Commands that wait for the same root share one edit: the first claims it, and nothing is due for the others.
        """
        deadline = time.monotonic() + _GAP_SECONDS + ONE_SHOT_SECONDS
        edited: set[str] = set()
        while self._delay() <= 0 and not self._stopped.is_set():
            edited_id, wait = self._edit_next(event_id, edited)
            if edited_id is not None:
                edited.add(edited_id)
                continue
            remaining = deadline - time.monotonic()
            is_in_progress = _GAP_SECONDS < wait < NEVER
            if is_in_progress and remaining > _GAP_SECONDS:
                # The edit may end long before its lease. The next one is then due after EDIT_GAP.
                wait = IN_PROGRESS_POLL
            if wait > remaining:
                return
            self._stopped.wait(wait)

    def _run(self) -> None:
        while not self._stopped.is_set():
            delay = self._delay()
            if delay > 0:
                time.sleep(min(delay, 1.0))
                continue
            self._woken.clear()
            edited_id, wait = self._edit_next()
            if edited_id is None and not self._stopped.is_set():
                self._woken.wait(min(POLL, wait))

    def _delay(self) -> float:
        """Return the seconds for which a rate limit or the open breaker forbids edits; 0 for none."""
        now = time.monotonic()
        return POLL if self._breaker.refusal is not None else max(self._next_turn, self._paused_until) - now

    def _edit_next(self, event_id: str | None = None, edited: Collection[str] = ()) -> _Step:
        """Make the edit that is due first, of an event's threads except `edited` if an event is set.

        Without a due edit only read, so that a command that waits doesn't hold up writers.
        """
        try:
            now = self._clock()
            due_at = self._connect.read(self._next_due_at, now, event_id, edited)
            if due_at is None:
                return _Step(None, NEVER)
            if due_at > now:
                return _Step(None, max(0.1, (due_at - now).total_seconds()))
            edit = self._connect.write(outbox.claim_edit, self._name, now, self._options.lease, event_id, edited)
            if edit is None:
                # Another process has claimed it since.
                return _Step(None, IN_PROGRESS_POLL)
            self._take_turn()
            contents = [restore(row, wording=self._options.wording) for row in edit.events]
            self._record_result(edit, self._channel.update_root(edit.root, contents, edit.earlier))
        except AlertctlError as error:
            log.info("%s: %s; the edit of a thread's root waits", self._name, error)
            return _Step(None, NEVER)
        except Exception:
            # A bug must not end the editor: the edit falls due again when its lease ends.
            log.exception("%s: unexpected error while editing a thread's root", self._name)
            return _Step(None, NEVER)
        return _Step(edit.thread_id)

    def _next_due_at(
        self, connection: Connection, now: datetime, event_id: str | None, edited: Collection[str]
    ) -> datetime | None:
        """Return when the next edit falls due. Return None for a command that can leave a later edit to a daemon."""
        due_at = outbox.next_edit_due_at(connection, self._name, now, event_id, edited)
        # `dispatch --once` is not a daemon: nobody knows when it runs again.
        if event_id is None or due_at is None or due_at <= now or not outbox.live_instances(connection, now):
            return due_at
        return None

    def _take_turn(self) -> None:
        gap = 1 / EDITS_PER_SECOND
        self._next_turn = max(self._next_turn, time.monotonic() - BURST * gap) + gap

    def _record_result(self, edit: RootEdit, result: SendResult) -> None:
        """Record an edit. A root or a channel that no longer exists ends the thread."""
        now = self._clock()
        if isinstance(result, Receipt):
            self._connect.write(lambda connection: outbox.record_edit(connection, edit, now))
        elif result.reason is Reason.BAD_ADDRESS:
            log.info("%s: the root of thread %s is gone (%s); the thread ends", self._name, edit.thread_id, result.code)
            self._connect.write(lambda connection: outbox.remove_thread(connection, edit))
        else:
            self._record_failure(edit, result, now)

    def _record_failure(self, edit: RootEdit, error: DeliveryError, now: datetime) -> None:
        failures = edit.failures
        if error.reason is Reason.RATE_LIMITED:
            wait = rate_limit_wait(error)
            self._paused_until = time.monotonic() + wait
            # No command waits for an edit that Slack limits.
            failures = max(failures, 1)
        else:
            failures += 1
            wait = RETRY_SECONDS * 2**edit.failures
        if error.reason is Reason.REJECTED or failures >= MAX_FAILURES:
            log.warning("%s: the root of thread %s cannot be edited (%s)", self._name, edit.thread_id, error.code)
            self._connect.write(lambda connection: outbox.end_edit(connection, edit, now))
            return
        until = now + timedelta(seconds=wait)
        self._connect.write(lambda connection: outbox.postpone_edit(connection, edit, now, until, failures=failures))
