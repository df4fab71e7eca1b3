"""Following a server's delivery log: a stream that is taken up again where it broke, as often as it takes."""

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

from alertctl.client.calls import PERMANENT, Calls, explain, read_as
from alertctl.errors import AlertctlError, Unreachable
from alertctl.http.errors import HttpError
from alertctl.schemas import DeliveryItem

log = logging.getLogger("alertctl.client")
AHEAD = 1000
"""Deliveries that are read before somebody takes them."""
BREATH = 0.5
"""Seconds after which a quiet stream says that it is quiet."""
LONGEST_WAIT = 5.0
"""Seconds between two tries at a server that is away."""
SAID_AFTER = 2.0
"""Seconds of silence after which somebody who follows is told."""
LONGEST_LINE = 4_000_000
"""Bytes of one line of a stream."""


def follow(calls: Calls, query: Mapping[str, Any]) -> Iterator[DeliveryItem | None]:
    """Deliveries as they come, None while nothing does. Raises what the server refuses it with, and Unreachable when
    it wasn't reached in the beginning."""
    listener = _Listener(calls, query)
    listener.start()
    try:
        while True:
            try:
                news = listener.heard.get(timeout=BREATH)
            except queue.Empty:
                yield None
                continue
            if isinstance(news, AlertctlError):
                raise news
            yield news
    finally:
        listener.stop()


class _Listener(threading.Thread):
    """Reads the stream, and takes it up again; what it hears goes into `heard`, an error is the last."""

    def __init__(self, calls: Calls, query: Mapping[str, Any]) -> None:
        super().__init__(name="alertctl-follow", daemon=True)
        self.heard: queue.Queue[DeliveryItem | AlertctlError] = queue.Queue(AHEAD)
        self._calls, self._query = calls, query
        self._ended = threading.Event()
        self._last = ""
        self._first_try = time.monotonic()
        self._reached = False

    def stop(self) -> None:
        """End it within a second or so; nothing is heard any more from now on."""
        self._ended.set()

    def run(self) -> None:
        try:
            self._run()
        except AlertctlError as error:
            self._tell(error)
        except Exception as error:
            self._tell(Unreachable(f"{self._calls.server.root}: {type(error).__name__}: {error}"))

    def _run(self) -> None:
        broke, tries, said = time.monotonic(), 0, False
        while not self._ended.is_set():
            try:
                self._listen()
                broke, tries, said = time.monotonic(), 0, False
                why = f"{self._calls.server.root} ended the stream"
            except (HttpError, Unreachable) as error:
                why = str(error)
                if isinstance(error, HttpError):
                    why = f"{self._calls.server.root} can't be reached: {explain(error, self._calls.server)}"
                self._give_up(error, why)
            if not said and time.monotonic() - broke > SAID_AFTER and not self._ended.is_set():
                log.warning("%s; trying again", why)
                said = True
            self._ended.wait(min(0.2 * 2**tries, LONGEST_WAIT) * random.uniform(0.5, 1.0))
            tries = min(tries + 1, 10)

    def _give_up(self, error: HttpError | Unreachable, why: str) -> None:
        """A stream that never was ends like any call; one that was is taken up again for as long as it takes."""
        if self._reached:
            return
        timed_out = time.monotonic() - self._first_try > self._calls.server.timeout
        if isinstance(error, HttpError) and (error.code in PERMANENT or timed_out):
            raise Unreachable(why)
        if isinstance(error, Unreachable) and timed_out:
            raise error

    def _listen(self) -> None:
        """One stream until it ends or breaks, without complaint once there was one."""
        headers = {"Last-Event-ID": self._last} if self._last else {}
        events = _Events(self._hear)
        self._calls.stream(
            "/delivery-log/stream",
            self._query,
            headers,
            opened=self._open,
            received=events.feed,
            stopped=self._ended.is_set,
        )

    def _open(self) -> None:
        self._reached = True

    def _hear(self, event: Mapping[str, str]) -> None:
        if event.get("event") == "delivery" and event.get("data"):
            self._tell(read_as(DeliveryItem, json.loads(event["data"]), self._calls.server))
        if not self._ended.is_set():
            self._last = event.get("id", self._last)

    def _tell(self, news: DeliveryItem | AlertctlError) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self.heard.put(news, timeout=BREATH)
                return


class _Events:
    """Reads the events of a stream (WHATWG HTML, 9.2.6) from its pieces, and hands each on."""

    def __init__(self, hear: Callable[[Mapping[str, str]], None]) -> None:
        self._hear = hear
        self._event: dict[str, str] = {}
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Raises HttpError for a line that doesn't end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise HttpError("endless_reply", "a line of the stream doesn't end", sent=True)
        for line in lines:
            name, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if name:
                self._event[name] = value.removeprefix(" ")
            elif not line.strip() and self._event:
                event, self._event = self._event, {}
                self._hear(event)
