"""Follow a server's delivery log over Server-Sent Events, reconnecting as often as necessary."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alertctl.client.api_calls import PERMANENT, ApiCalls, explain
from alertctl.errors import AlertctlError, NotAllowed, Unreachable
from alertctl.http.errors import HttpError
from alertctl.schemas import DeliveryItem

log = logging.getLogger("alertctl.client")
QUEUE_SIZE = 1000
"""Deliveries that are read ahead of the consumer."""
IDLE_SECONDS = 0.5
"""Seconds without an event after which `follow` yields None."""
MAX_BACKOFF = 5.0
"""Longest time in seconds between two tries to reconnect."""
WARN_AFTER = 2.0
"""Seconds without a connection after which a warning is logged."""
MAX_LINE = 4_000_000
"""Longest line of a stream in bytes."""


def follow(calls: ApiCalls, query: Mapping[str, Any]) -> Iterator[DeliveryItem | None]:
    """Yield deliveries as they change, and None while nothing changes.

    Raises the error that the server answers, and Unreachable when the first connection fails.
    """
    listener = _Listener(calls, query)
    listener.start()
    try:
        while True:
            try:
                item = listener.received.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, AlertctlError):
                raise item
            yield item
    finally:
        listener.stop()


class _Listener(threading.Thread):
    """Reads the stream and reconnects. Puts each delivery into `received`; an error is the last item."""

    def __init__(self, calls: ApiCalls, query: Mapping[str, Any]) -> None:
        super().__init__(name="alertctl-follow", daemon=True)
        self.received: queue.Queue[DeliveryItem | AlertctlError] = queue.Queue(QUEUE_SIZE)
        self._calls, self._query = calls, query
        self._stopping = threading.Event()
        self._last_event_id = ""
        self._first_try = time.monotonic()
        self._reached = threading.Event()

    def stop(self) -> None:
        """Stop within about a second; nothing more is put into `received`."""
        self._stopping.set()

    def run(self) -> None:
        try:
            self._run()
        except AlertctlError as error:
            self._put(error)
        except Exception as error:
            self._put(Unreachable(f"{self._calls.server.root}: {type(error).__name__}: {error}"))

    def _run(self) -> None:
        failing_since = time.monotonic()
        tries = 0
        warned = False
        while not self._stopping.is_set():
            try:
                self._read_stream()
                failing_since = time.monotonic()
                tries = 0
                warned = False
                cause = f"{self._calls.server.root} ended the stream"
            except NotAllowed:
                if not self._calls.renew_token():
                    raise
                continue
            except (HttpError, Unreachable) as error:
                cause = str(error)
                if isinstance(error, HttpError):
                    cause = f"{self._calls.server.root} can't be reached: {explain(error, self._calls.server)}"
                is_permanent = isinstance(error, HttpError) and error.code in PERMANENT
                timed_out = time.monotonic() - self._first_try > self._calls.server.timeout
                # An interrupted stream is retried forever.
                if not self._reached.is_set() and (is_permanent or timed_out):
                    raise Unreachable(cause) from error
            if not warned and time.monotonic() - failing_since > WARN_AFTER and not self._stopping.is_set():
                log.warning("%s; retrying", cause)
                warned = True
            self._stopping.wait(min(0.2 * 2**tries, MAX_BACKOFF) * random.uniform(0.5, 1.0))
            tries = min(tries + 1, 10)

    def _read_stream(self) -> None:
        """Read one stream until it ends or breaks."""
        headers = {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
        parser = _EventParser(self._handle_event)
        self._calls.stream(
            "/delivery-log/stream",
            self._query,
            headers,
            opened=self._reached.set,
            received=parser.feed,
            stopped=self._stopping.is_set,
        )

    def _handle_event(self, event: Mapping[str, str]) -> None:
        if event.get("event") == "delivery" and event.get("data"):
            self._put(self._calls.parse(DeliveryItem, json.loads(event["data"])))
        if not self._stopping.is_set():
            self._last_event_id = event.get("id", self._last_event_id)

    def _put(self, item: DeliveryItem | AlertctlError) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):
                self.received.put(item, timeout=IDLE_SECONDS)
                return


class _EventParser:
    """Parses the chunks of a stream into events (WHATWG HTML, 9.2.6) and passes each to `handle`."""

    def __init__(self, handle: Callable[[Mapping[str, str]], None]) -> None:
        self._handle_event = handle
        self._event: dict[str, str] = {}
        self._incomplete_line = b""

    def feed(self, chunk: bytes) -> None:
        """Parse a chunk. Raises HttpError for a line that is too long."""
        *lines, self._incomplete_line = (self._incomplete_line + chunk).split(b"\n")
        if len(self._incomplete_line) > MAX_LINE:
            raise HttpError("endless_reply", "a line of the stream is too long", sent=True)
        for line in lines:
            name, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if name:
                self._event[name] = value.removeprefix(" ")
            elif not line.strip() and self._event:
                event, self._event = self._event, {}
                self._handle_event(event)
