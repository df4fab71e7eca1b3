"""`from alertctl import notify`: publish an event from a Python program, without exceptions and in bounded time."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Literal
from uuid import UUID

from alertctl.channels import TARGET_EXAMPLES
from alertctl.client import Client, connect
from alertctl.config import Value, duration_of, gather
from alertctl.errors import AlertctlError, ConfigError, Conflict, InvalidEvent, NotAllowed, Unreachable
from alertctl.schemas import DeliveryItem, EventReceipt, PublishRequest
from alertctl.spool import Destination, Spool, describe, key_of

__all__ = ["Notified", "notify"]

log = logging.getLogger("alertctl")
Duration = float | str | timedelta
"""Seconds, a text like `30m`, or a timedelta."""
TIMEOUT = 5.0
"""Default timeout of a call in seconds."""
SPOOL_SHARE = 0.2
"""Share of a call's timeout that is reserved for writing the event to the spool, at most half a second."""
MAX_CALLS = 32
"""Calls that may run at once, including those that continue after their timeout. Further events are spooled."""
MAX_IDLE_CLIENTS = 8
"""Most idle clients that are kept for reuse."""
EDIT_SECONDS = 10.0
"""How long the edits of a client take at most (`dispatcher/threads.py`)."""

NO_ANSWER = "no answer in time"
NO_DAEMON = "no daemon is running on this database; start alertctl serve, or pass deliver=True"


@dataclass(frozen=True, slots=True)
class Notified:
    """The outcome of one `notify`.

    `recorded`: the event is in the delivery log, and a daemon sends it (`repeated`: recorded before, under the same
    key). `spooled`: kept on this machine until the database or the server accepts it. `refused`: the event is wrong.
    `lost`: neither recorded nor spooled. `error` is the cause, except for `recorded` and `repeated`.
    """

    outcome: Literal["recorded", "repeated", "spooled", "refused", "lost"]
    event_id: str | None = None
    deliveries: tuple[DeliveryItem, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def recorded(self) -> bool:
        return self.outcome in ("recorded", "repeated")

    @property
    def spooled(self) -> bool:
        return self.outcome == "spooled"

    @property
    def refused(self) -> bool:
        return self.outcome == "refused"


def notify(
    event_type: str,
    /,
    *,
    labels: Mapping[str, Any] | None = None,
    to: str | Sequence[str] = (),
    channel: str | None = None,
    idempotency_key: str | None = None,
    dedup_window: Duration | None = None,
    expires: Duration | None = None,
    timeout: float = TIMEOUT,
    deliver: bool = False,
    **fields: Any,
) -> Notified:
    """Publish an event. Never raises, and returns within `timeout` seconds.

    `fields` are the event's own (`alertctl events TYPE` lists them), `labels` are for routes and filters; those that
    are None are left out. The event is recorded, and `alertctl serve` sends it; with `deliver` this call also waits for
    a first attempt. Database or server come from the same settings as for the command line. From a coroutine:
    `await asyncio.to_thread(notify, …)`.
    """
    try:
        deadline = time.monotonic() + _usable_timeout(timeout)
        request = _request(event_type, fields, labels, to, channel, idempotency_key, dedup_window, expires)
        notified = _notify(request, deadline, deliver)
    except AlertctlError as error:
        notified = Notified("refused", error=str(error))
    except Exception as error:
        notified = Notified("lost", error=describe(error))
    if notified.error:
        label = event_type[:80] if isinstance(event_type, str) else "an event"
        log.warning("notify: %s %s: %s", label, notified.outcome, notified.error)
    return notified


def _notify(request: PublishRequest, deadline: float, deliver: bool) -> Notified:
    sources = gather()
    reserve = min(0.5, (deadline - time.monotonic()) * SPOOL_SHARE)
    call = _NotifyCall(request, sources.values, deliver)
    try:
        _in_time(call.run, deadline - reserve, _slots)
    except (InvalidEvent, Conflict):
        raise
    except Exception as error:
        if call.receipt:
            # Recorded, but the first attempt took too long: a daemon continues it.
            return _recorded(call.receipt)
        if isinstance(error, ConfigError | NotAllowed):
            # A wrong event is refused; a check that takes too long is skipped.
            with suppress(Unreachable):
                _in_time(lambda: _check(request), deadline - reserve)
        destination = Destination.best_known(sources, error, os.environ)
        cause = describe(error)
        if cause == NO_ANSWER and call.problem:
            cause = f"{call.problem}; {NO_ANSWER}"
        try:
            _in_time(lambda: Spool.of(os.environ).keep(request, destination, cause, datetime.now(UTC)), deadline)
        except Exception as spool_error:
            return Notified("lost", error=f"{cause}; spool: {describe(spool_error)}")
        return Notified("spooled", error=cause)
    assert call.receipt is not None
    return _recorded(call.receipt)


def _check(request: PublishRequest) -> None:
    from alertctl.publish import prepare
    from alertctl.routing import RoutingRules

    prepare(request, RoutingRules())


def _recorded(receipt: EventReceipt) -> Notified:
    outcome: Literal["recorded", "repeated"] = "recorded" if receipt.created else "repeated"
    return Notified(outcome, receipt.event_id, tuple(receipt.deliveries), tuple(receipt.warnings))


class _NotifyCall:
    """The work of one call. It may continue after the timeout: the idempotency key prevents duplicates."""

    def __init__(self, request: PublishRequest, values: Mapping[str, Value], deliver: bool) -> None:
        self._request = request
        self._values = values
        self._deliver = deliver
        self._client: Client | None = None
        self.receipt: EventReceipt | None = None

    @property
    def problem(self) -> str:
        """Why the call is still being tried, empty if that is not known."""
        return self._client.problem if self._client else ""

    def run(self) -> None:
        with _clients.borrow(self._values) as client:
            self._client = client
            self.receipt = receipt = client.publish(self._request)
            if self._deliver:
                _wait_for_edits_at_exit()
                self.receipt = replace(receipt, deliveries=client.deliver(receipt.event_id))
            elif not client.has_daemon():
                self.receipt = replace(receipt, warnings=[*receipt.warnings, NO_DAEMON])
                log.warning("notify: %s recorded only: %s", self._request.event_type, NO_DAEMON)


def _in_time(work: Callable[[], object], deadline: float, slots: threading.Semaphore | None = None) -> None:
    """Run `work` in a thread and stop waiting at the deadline. Raises what it raised, or Unreachable."""
    if slots and not slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise Unreachable(f"{MAX_CALLS} calls are already running")
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:
            outcome.set_exception(error)
        finally:
            if slots:
                slots.release()

    try:
        threading.Thread(target=run, name="alertctl-notify", daemon=True).start()
    except RuntimeError:
        # The interpreter is shutting down and starts no threads: run it here, even if it takes longer.
        run()
    if not wait([outcome], max(0.0, deadline - time.monotonic())).done:
        raise Unreachable(NO_ANSWER)
    outcome.result()


class _Clients:
    """A pool of idle clients with the same settings; each call borrows one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: object = None
        self._idle: list[Client] = []
        self._ending: list[threading.Thread] = []

    @contextmanager
    def borrow(self, values: Mapping[str, Value]) -> Iterator[Client]:
        key = sorted((name, str(value.raw)) for name, value in values.items())
        with self._lock:
            if self._key != key:
                # Outdated clients that are in use are closed when they are returned.
                outdated = self._idle
                self._idle = []
                self._key = key
                self._end(outdated)
            idle = self._idle.pop() if self._idle else None
        client = idle or connect(tolerate=True)
        try:
            yield client
        except BaseException:
            client.close()
            raise
        with self._lock:
            if self._key == key and len(self._idle) < MAX_IDLE_CLIENTS:
                self._idle.append(client)
            else:
                self._end([client])

    def _end(self, clients: list[Client]) -> None:
        """Close clients in the background, after the edits of threads' roots that they make. Needs the lock."""
        self._ending = [thread for thread in self._ending if thread.is_alive()]
        for client in clients:
            thread = threading.Thread(target=client.__exit__, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is shutting down and starts no threads.
                client.close()
            else:
                self._ending.append(thread)

    def wait_for_edits(self) -> None:
        """End all clients that no call uses, after the edits that they make in the background."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            with client:
                pass
        for thread in self._ending:
            thread.join(EDIT_SECONDS)


@cache
def _wait_for_edits_at_exit() -> None:
    """Let the interpreter end after the edits of threads' roots, some ten seconds later at most."""
    atexit.register(lambda: _clients.wait_for_edits())


_clients = _Clients()
_slots = threading.Semaphore(MAX_CALLS)
_parents: list[_Clients] = []


def _reset_after_fork() -> None:
    """Start a forked child with an empty pool: it must not use or close the parent's connections or locks."""
    global _clients, _slots
    _parents.append(_clients)
    _clients, _slots = _Clients(), threading.Semaphore(MAX_CALLS)


os.register_at_fork(after_in_child=_reset_after_fork)


def _request(
    event_type: str,
    fields: Mapping[str, Any],
    labels: Mapping[str, Any] | None,
    to: str | Sequence[str],
    channel: str | None,
    idempotency_key: str | None,
    dedup_window: Duration | None,
    expires: Duration | None,
) -> PublishRequest:
    """Return the request of a call. Raises InvalidEvent."""
    texts = {"event_type": event_type, "channel": channel or "", "idempotency_key": idempotency_key or ""}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise InvalidEvent(name, "should be text")
    targets = [to] if isinstance(to, str) else to
    if not isinstance(targets, list | tuple | set) or not all(isinstance(target, str) for target in targets):
        raise InvalidEvent("to", f'should be targets like "{TARGET_EXAMPLES[0]}"')
    seconds = None if expires is None else duration_of("expires", expires)
    return PublishRequest(
        event_type=event_type,
        fields=_jsonable(fields),
        labels=_jsonable(labels) if isinstance(labels, Mapping) else labels or {},
        to=list(targets),
        channel=channel,
        idempotency_key=key_of(idempotency_key),
        dedup_window=None if dedup_window is None else duration_of("dedup_window", dedup_window, low=0),
        expires_at=None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds),
    )


def _usable_timeout(value: Any) -> float:
    """Return the timeout, or the default for an invalid one: the event is published all the same."""
    usable = isinstance(value, int | float) and 0 < value <= threading.TIMEOUT_MAX
    return float(value) if usable else TIMEOUT


def _jsonable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON values. Raises InvalidEvent."""
    try:
        return {
            name: json.loads(json.dumps(value, default=_jsonable_value, allow_nan=False))
            for name, value in fields.items()
        }
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent("fields", f"cannot be written as JSON: {error}") from None


def _jsonable_value(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID | PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is not text, a number, or yes or no")
