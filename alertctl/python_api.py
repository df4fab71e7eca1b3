"""`from alertctl import notify`: tell people from a Python program, and never get in its way."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from alertctl.channels import TARGET_EXAMPLES
from alertctl.client.validation import check_event
from alertctl.config import duration_of, read_readable
from alertctl.errors import AlertctlError, ConfigError, Conflict, InvalidEvent, NotAllowed, Unreachable
from alertctl.schemas import PublishRequest
from alertctl.spool import Destination, Spool, describe, key_of

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.config import Value
    from alertctl.schemas import DeliveryItem, EventReceipt

__all__ = ["Notified", "notify"]

log = logging.getLogger("alertctl")
Duration = float | str | timedelta
"""Seconds, a text like `30m`, or a timedelta."""
TIMEOUT = 5.0
"""Seconds that one call may take in all."""
FOR_THE_SPOOL = 0.2
"""The part of a call's time that is kept for putting the event into the spool, at most half a second."""
AT_ONCE = 32
"""Calls that may be under way: those left alone after their timeout count until they end. More go into the spool."""
KEPT = 8
"""Idle connections to one database or server."""


@dataclass(frozen=True, slots=True)
class Notified:
    """What happened to an event.

    `recorded`: it is in the delivery log, a daemon sends it (`repeated`: it was there before, under the same key).
    `spooled`: kept on this machine's disk until database or server take it. `refused`: the event itself is wrong;
    `lost`: not even the spool took it. `error` says why, for all but the first two.
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
    to: str | Sequence[str] = (),
    channel: str | None = None,
    idempotency_key: str | None = None,
    dedup_window: Duration | None = None,
    expires: Duration | None = None,
    timeout: float = TIMEOUT,
    deliver: bool = False,
    **fields: Any,
) -> Notified:
    """Tell people about an event. Never raises, and returns within `timeout` seconds.

    `fields` are the event's own (`alertctl events TYPE` lists them); None and what isn't given are the same. The event
    is recorded and `alertctl serve` sends it; with `deliver` this call also waits for a first try. Database or server
    come from the same settings as for the command line. From a coroutine: `await asyncio.to_thread(notify, …)`.
    """
    try:
        deadline = time.monotonic() + _timeout(timeout)
        request = _request(event_type, fields, to, channel, idempotency_key, dedup_window, expires)
        done = _notify(request, deadline, deliver)
    except AlertctlError as error:
        done = Notified("refused", error=str(error))
    except Exception as error:
        done = Notified("lost", error=describe(error))
    if done.error:
        named = event_type[:80] if isinstance(event_type, str) else "an event"
        log.warning("notify: %s %s: %s", named, done.outcome, done.error)
    return done


def _notify(request: PublishRequest, deadline: float, deliver: bool) -> Notified:
    values, _ = read_readable()
    where = Destination.best_known(values, os.environ)
    reserve = min(0.5, (deadline - time.monotonic()) * FOR_THE_SPOOL)
    call = _Call(request, values, deliver)
    try:
        _in_time(call.run, deadline - reserve, _slots)
    except (InvalidEvent, Conflict):
        raise
    except Exception as error:
        if call.receipt:
            # Recorded, but the first try took too long: a daemon goes on with it.
            return _recorded(call.receipt)
        if isinstance(error, ConfigError | NotAllowed):
            _check_in_time(request, deadline - reserve)
        return _spooled(request, where, describe(error), deadline)
    assert call.receipt is not None
    return _recorded(call.receipt, call.deliveries)


def _check_in_time(request: PublishRequest, deadline: float) -> None:
    """Check an event that nobody has seen yet. Raises InvalidEvent; a check that takes too long is left out."""
    with suppress(Unreachable):
        _in_time(lambda: check_event(request), deadline)


def _recorded(receipt: EventReceipt, deliveries: Sequence[DeliveryItem] | None = None) -> Notified:
    return Notified(
        "recorded" if receipt.created else "repeated",
        receipt.event_id,
        tuple(receipt.deliveries if deliveries is None else deliveries),
        tuple(receipt.warnings),
    )


def _spooled(request: PublishRequest, where: Destination, cause: str, deadline: float) -> Notified:
    try:
        _in_time(lambda: Spool.of(os.environ).keep(request, where, cause, datetime.now(UTC)), deadline)
    except Exception as error:
        return Notified("lost", error=f"{cause}; spool: {describe(error)}")
    return Notified("spooled", error=cause)


class _Call:
    """One call's work, in a thread that may be left alone: the event's key makes what it still does harmless."""

    def __init__(self, request: PublishRequest, values: Mapping[str, Value], deliver: bool) -> None:
        self._request, self._values, self._deliver = request, values, deliver
        self.receipt: EventReceipt | None = None
        self.deliveries: list[DeliveryItem] | None = None

    def run(self) -> None:
        with _clients.one(self._values) as client:
            self.receipt = client.publish(self._request)
            if self._deliver:
                self.deliveries = client.deliver(self.receipt.event_id)


def _in_time(work: Callable[[], object], deadline: float, slots: threading.Semaphore | None = None) -> None:
    """Run `work`, and leave it alone when it isn't done by then. Raises what it raised, or Unreachable."""
    if slots and not slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise Unreachable(f"{AT_ONCE} calls are under way already")
    ended: list[Exception | None] = []

    def run() -> None:
        try:
            work()
            ended.append(None)
        except Exception as error:
            ended.append(error)
        finally:
            if slots:
                slots.release()

    thread = threading.Thread(target=run, name="alertctl-notify", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # No new threads while the interpreter ends: better late than never.
        run()
    else:
        thread.join(max(0.0, deadline - time.monotonic()))
    if not ended:
        raise Unreachable("no answer in time")
    if ended[0] is not None:
        raise ended[0]


class _Clients:
    """Clients that are open and idle, all of the same settings; a call has one for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: object = None
        self._idle: list[Client] = []

    @contextmanager
    def one(self, values: Mapping[str, Value]) -> Iterator[Client]:
        key = sorted((name, str(value.raw)) for name, value in values.items())
        client = self._taken(key) or _connected()
        try:
            yield client
        except BaseException:
            client.close()
            raise
        self._give_back(key, client)

    def _taken(self, key: object) -> Client | None:
        with self._lock:
            if self._key != key:
                # Whoever still uses one of the old ones closes it at its end.
                old, self._idle, self._key = self._idle, [], key
                for client in old:
                    client.close()
            return self._idle.pop() if self._idle else None

    def _give_back(self, key: object, client: Client) -> None:
        with self._lock:
            if self._key == key and len(self._idle) < KEPT:
                self._idle.append(client)
                return
        client.close()


def _connected() -> Client:
    from alertctl.client import connect

    return connect(tolerate=True)


_clients = _Clients()
_slots = threading.Semaphore(AT_ONCE)
_parents: list[_Clients] = []


def _start_anew() -> None:
    """In a forked child the parent's connections are not ours, not even to close; its locks may be held for ever."""
    global _clients, _slots
    _parents.append(_clients)
    _clients, _slots = _Clients(), threading.Semaphore(AT_ONCE)


os.register_at_fork(after_in_child=_start_anew)


def _request(
    event_type: str,
    fields: Mapping[str, Any],
    to: str | Sequence[str],
    channel: str | None,
    idempotency_key: str | None,
    dedup_window: Duration | None,
    expires: Duration | None,
) -> PublishRequest:
    """The request that a call means. Raises InvalidEvent."""
    for name, value in (
        ("event_type", event_type),
        ("channel", channel or ""),
        ("idempotency_key", idempotency_key or ""),
    ):
        if not isinstance(value, str):
            raise InvalidEvent(name, "should be text")
    targets = [to] if isinstance(to, str) else to
    if not isinstance(targets, list | tuple | set) or not all(isinstance(one, str) for one in targets):
        raise InvalidEvent("to", f'should be targets like "{TARGET_EXAMPLES[0]}"')
    late = None if expires is None else duration_of("expires", expires)
    return PublishRequest(
        event_type=event_type,
        fields=_plain(fields),
        to=list(targets),
        channel=channel,
        idempotency_key=key_of(idempotency_key),
        dedup_window=None if dedup_window is None else duration_of("dedup_window", dedup_window),
        expires_at=None if late is None else datetime.now(UTC) + timedelta(seconds=late),
    )


def _timeout(value: Any) -> float:
    """A wrong timeout is no reason not to tell people."""
    usable = isinstance(value, int | float) and 0 < value <= threading.TIMEOUT_MAX
    return float(value) if usable else TIMEOUT


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as JSON has them. Raises InvalidEvent."""
    try:
        return {
            name: json.loads(json.dumps(value, default=_as_text, allow_nan=False)) for name, value in fields.items()
        }
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent("fields", f"can't be written as JSON: {error}") from None


def _as_text(value: Any) -> Any:
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
    raise TypeError(f"{type(value).__name__} is no text, number, or yes or no")
