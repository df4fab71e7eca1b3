"""A call to a server: tried again while there is time, where trying again can help and do no harm."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from alertctl.channels.deadline import Deadline
from alertctl.client.answers import data_of, error_of
from alertctl.client.carrier import Carrier, Listening, Reply, Request
from alertctl.client.server import Server
from alertctl.client.troubles import Lost
from alertctl.config.values import ROUTES
from alertctl.errors import InvalidEvent, NotAllowed, Unreachable

log = logging.getLogger("alertctl.client")
AWAY = frozenset((408, 429, 500, 502, 503, 504))
"""Answers that may be another one a moment later."""
BROKEN_TRIES = 2
"""Repeats after a 500: a server that stumbles over this very call does so again."""
LARGEST = 1024 * 1024
"""Bytes of a body that a server takes."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
"""Seconds before the first repeat, and at most before any; up to half of it is chance."""
LONGEST_ASKED = 30.0
"""Seconds that a Retry-After is heeded at most."""
SAID_AFTER = 2.0
"""Seconds of failing after which somebody who waits is told so."""
QUIET = 20.0
"""Seconds after which a stream that says nothing, not even that it is quiet, is taken for dead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`repeated`: an earlier try of this very call went out and was lost: it may have been done by that one."""

    data: Any
    headers: Mapping[str, str]
    repeated: bool = False


class Calls:
    """Calls to one server, one after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._carrier = Carrier(server)

    def close(self) -> None:
        self._carrier.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, patience: float = 0.0) -> Any:
        """What is there. `patience`: seconds that the server itself may wait before it answers."""
        return self.ask("GET", path, query=query, patience=patience).data

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
        patience: float = 0.0,
    ) -> Answer:
        """Call and answer. `repeat`: may be done twice without harm; else it is tried again only until it went out.

        Raises Unreachable when the time is up, and whatever the server refuses it with.
        """
        self._require_token()
        request = Request(method, _path(path, query), None if body is None else _written(body), headers or {})
        trying = _Trying(self.server, Deadline(self.server.timeout + patience), repeat)
        while True:
            try:
                reply = self._carrier.exchange(request, trying.deadline, fresh=not repeat)
            except Lost as error:
                trying.after_loss(error, self._carrier.closed)
            else:
                if reply.status not in AWAY or not trying.after(reply):
                    return Answer(data_of(reply, self.server), reply.headers, trying.lost)

    def listen(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]) -> Listening:
        """One try at a stream. Raises Lost, Unreachable, or whatever the server refuses it with."""
        self._require_token()
        deadline = Deadline(min(self.server.timeout, QUIET))
        request = Request("GET", _path(path, query), headers={**headers, "Accept": "text/event-stream"})
        stream = self._carrier.listen(request, deadline)
        kind = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
        if stream.status == 200 and kind == "text/event-stream":
            return stream
        try:
            raise error_of(stream.whole(self.server.timeout), self.server)
        finally:
            stream.cut()

    def _require_token(self) -> None:
        if not self.server.token:
            raise NotAllowed(
                f"ALERTCTL_TOKEN is not set, and {self.server.root} asks for one (alertctl token create makes it there)"
            )


class _Trying:
    """One call's tries: how long still, whether another is worth it, and the wait before it."""

    def __init__(self, server: Server, deadline: Deadline, repeat: bool) -> None:
        self.deadline = deadline
        self.lost = False
        self._server, self._repeat = server, repeat
        self._began, self._tries, self._said = time.monotonic(), 0, False

    def after_loss(self, error: Lost, closed: bool) -> None:
        """Wait for the next try. Raises Unreachable when there is none."""
        self.lost = self.lost or error.sent
        why = f"{self._server.root} can't be reached: {error.why}"
        if error.sent and not self._repeat:
            raise Unreachable(f"{self._server.root}: {error.why}; it may have been done all the same")
        if error.hopeless or closed or not self._waited(why, 0.0):
            raise Unreachable(why)

    def after(self, reply: Reply) -> bool:
        """Wait for the next try after an answer that says "not now"; False when there is none."""
        self.lost = self.lost or reply.status != 429
        if reply.status == 500 and self._tries >= BROKEN_TRIES:
            return False
        asked = reply.headers.get("retry-after", "").strip()
        pause = min(float(asked), LONGEST_ASKED) if asked.isascii() and asked.isdecimal() else 0.0
        return self._repeat and self._waited(f"{self._server.root} answered {reply.status}", pause)

    def _waited(self, why: str, pause: float) -> bool:
        wait = max(pause, min(FIRST_WAIT * 2**self._tries, LONGEST_WAIT) * random.uniform(0.5, 1.0))
        left = self.deadline.left()
        if wait >= left:
            return False
        if not self._said and time.monotonic() - self._began + wait > SAID_AFTER:
            log.warning("%s; trying again for %.0f s", why, left)
            self._said = True
        self._tries = min(self._tries + 1, 16)
        time.sleep(wait)
        return True


def _path(path: str, query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{ROUTES}{path}" + (f"?{urlencode(given)}" if given else "")


def _written(body: Any) -> bytes:
    try:
        written = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent("body", f"can't be written as JSON: {error}") from None
    if len(written) > LARGEST:
        raise InvalidEvent("body", "The body is larger than 1 MB: alerts are short; link to what is long.")
    return written
