"""Following a server's delivery log: a stream that is taken up again where it broke, as often as it takes."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from alertctl.client.answers import read_as
from alertctl.client.calls import QUIET, Calls
from alertctl.client.carrier import Listening
from alertctl.client.troubles import Lost
from alertctl.errors import AlertctlError, Unreachable
from alertctl.schemas import DeliveryItem

log = logging.getLogger("alertctl.client")
BROKEN = (OSError, http.client.HTTPException, ValueError, AttributeError)
"""What reading a stream raises that broke, or that another thread has cut."""
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
        self._stream: Listening | None = None
        self._last = ""
        self._first_try = time.monotonic()
        self._reached = False

    def stop(self) -> None:
        self._ended.set()
        stream = self._stream
        if stream is not None:
            stream.cut()

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
            except (Lost, Unreachable) as error:
                why = str(error)
                if isinstance(error, Lost):
                    why = f"{self._calls.server.root} can't be reached: {why}"
                self._give_up(error, why)
            if not said and time.monotonic() - broke > SAID_AFTER and not self._ended.is_set():
                log.warning("%s; trying again", why)
                said = True
            self._ended.wait(min(0.2 * 2**tries, LONGEST_WAIT) * random.uniform(0.5, 1.0))
            tries = min(tries + 1, 10)

    def _give_up(self, error: Lost | Unreachable, why: str) -> None:
        """A stream that never was ends like any call; one that was is taken up again for as long as it takes."""
        if self._reached:
            return
        timed_out = time.monotonic() - self._first_try > self._calls.server.timeout
        if isinstance(error, Lost) and (error.hopeless or timed_out):
            raise Unreachable(why)
        if isinstance(error, Unreachable) and timed_out:
            raise error

    def _listen(self) -> None:
        """One stream until it ends or breaks, without complaint once there was one."""
        headers = {"Last-Event-ID": self._last} if self._last else {}
        stream = self._stream = self._calls.listen("/delivery-log/stream", self._query, headers)
        self._reached = True
        try:
            for event in _events(stream, self._ended):
                self._hear(event)
        finally:
            stream.cut()

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


def _events(stream: Listening, ended: threading.Event) -> Iterator[dict[str, str]]:
    """The events of a stream (WHATWG HTML, 9.2.6) until it ends, breaks, or stays silent for too long."""
    event: dict[str, str] = {}
    rest = b""
    while not ended.is_set():
        try:
            piece = stream.piece(QUIET)
        except BROKEN:
            return
        *lines, rest = (rest + piece).split(b"\n")
        if not piece or len(rest) > LONGEST_LINE:
            return
        for line in lines:
            name, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            if name:
                event[name] = value.removeprefix(" ")
            elif not line.strip() and event:
                yield event
                event = {}
