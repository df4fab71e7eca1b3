"""A call to a server: tried again while there is time, where trying again can help and do no harm."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from alertctl.client.answers import data_of, error_of
from alertctl.client.server_config import Server
from alertctl.config.validators import ROUTES
from alertctl.deadline import Deadline
from alertctl.errors import ConfigError, InvalidEvent, NotAllowed, Unreachable
from alertctl.http.client import HttpClient, Response, StreamHandlers
from alertctl.http.errors import HttpError

log = logging.getLogger("alertctl.client")
AWAY = frozenset((408, 429, 500, 502, 503, 504))
"""Answers that may be another one a moment later."""
BROKEN_TRIES = 2
"""Repeats after a 500 or a look-up that fails: a server that stumbles over this very call does so again, and a name
without an address gets none."""
LARGEST = 1024 * 1024
"""Bytes of a body that a server takes."""
REPLY_LIMIT = 64 << 20
"""Bytes of one reply: a thousand users or a hundred deliveries need less than one million."""
CONNECT_SECONDS = 5.0
"""For a look-up, a connection and TLS together: a machine that doesn't answer within it is away."""
IDLE_SECONDS = 3
"""After so long a kept connection is not used any more: uvicorn closes one after 5 s."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
"""Seconds before the first repeat, and at most before any; up to half of it is chance."""
LONGEST_ASKED = 30.0
"""Seconds that a Retry-After is heeded at most."""
SAID_AFTER = 2.0
"""Seconds of failing after which somebody who waits is told so."""
QUIET = 20.0
"""Seconds after which a stream that says nothing, not even that it is quiet, is taken for dead."""
WORDS = {
    "no_reply": "it closed the connection without an answer",
    "incomplete_reply": "the connection broke in the middle of the answer",
    "bad_reply": "what it answers is not HTTP",
    "endless_reply": "its answer doesn't end",
    "dns_failure": "its name can't be looked up",
    "tls_not_spoken": "it speaks no TLS that we do (is it http://?)",
    "tls_failed": "it speaks no TLS that we do (is it http://?)",
    "connection_refused": "connection refused",
    "connection_reset": "the connection broke",
    "connection_lost": "the connection broke",
}
UNTRUSTED = ("tls_untrusted", "tls_wrong_host", "tls_expired")
PERMANENT = frozenset(
    (*UNTRUSTED, "bad_reply", "endless_reply", "tls_not_spoken", "tls_failed", "proxy_auth", "bad_request")
)
"""Asking again is no use."""


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
        parts = urlsplit(server.root)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._http = HttpClient(
            server.timeout,
            server.ca_bundle,
            connect_timeout=CONNECT_SECONDS,
            pool_size=1,
            max_body=REPLY_LIMIT,
            max_idle=IDLE_SECONDS,
        )

    def close(self) -> None:
        self._http.close()

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

        Raises Unreachable when the time is up, ConfigError for an unusable CA bundle or proxy, and whatever the server
        refuses it with.
        """
        self._require_token()
        url, content = self._url(path, query), b"" if body is None else _written(body)
        sent = {**self._headers(), **({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
        trying = _Trying(self.server, Deadline(self.server.timeout + patience), repeat)
        while True:
            try:
                left = trying.deadline.remaining()
                reply = self._http.request(method, url, sent, content, timeout=left, new_connection=not repeat)
                _require_whole(reply)
            except HttpError as error:
                trying.after_loss(error)
            else:
                if reply.status not in AWAY or not trying.after(reply):
                    return Answer(data_of(reply, self.server), reply.headers, trying.lost)

    def stream(
        self,
        path: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        opened: Callable[[], None],
        received: Callable[[bytes], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Try a stream once, and hand its pieces to `received` until it ends or `stopped` says so.

        Raises HttpError, Unreachable, or whatever the server refuses it with.
        """
        self._require_token()

        def is_stream(head: Response) -> bool:
            if head.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
                return False
            is_open.append(True)
            opened()
            return True

        is_open: list[bool] = []
        handlers = StreamHandlers(is_stream, received, stopped, QUIET, min(self.server.timeout, QUIET))
        sent = {**self._headers(), "Accept": "text/event-stream", **headers}
        reply = self._http.stream(self._url(path, query), sent, handlers)
        if not is_open:
            raise error_of(reply, self.server)

    def _headers(self) -> dict[str, str]:
        return {"Accept": "application/json", "Authorization": f"Bearer {self.server.token}"}

    def _url(self, path: str, query: Mapping[str, Any] | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return f"{self._base}{ROUTES}{path}" + (f"?{urlencode(given)}" if given else "")

    def _require_token(self) -> None:
        if not self.server.token:
            raise NotAllowed(
                f"ALERTCTL_TOKEN is not set, and {self.server.root} asks for one (alertctl token create makes it there)"
            )


def _require_whole(reply: Response) -> None:
    if reply.truncated:
        code = "endless_reply" if len(reply.body) >= REPLY_LIMIT else "incomplete_reply"
        raise HttpError(code, "the reply was cut off", sent=True)


def explain(error: HttpError, server: Server) -> str:
    """Say why no answer came. Raises ConfigError when a setting of this machine is the cause."""
    if error.code == "bad_ca_bundle":
        raise ConfigError([error.detail])
    if error.code == "bad_proxy_url":
        raise ConfigError([f"{urlsplit(server.root).scheme.upper()}_PROXY: {error.detail}"])
    if error.code in UNTRUSTED:
        return f"its certificate is not trusted: {error.detail} (ALERTCTL_CA_BUNDLE)"
    if error.code in ("connect_timeout", "dns_timeout"):
        return f"no answer within {min(CONNECT_SECONDS, server.timeout):g} s"
    if error.code == "timeout":
        return f"no answer within {server.timeout:g} s"
    return WORDS.get(error.code, error.detail)


class _Trying:
    """One call's tries: how long still, whether another is worth it, and the wait before it."""

    def __init__(self, server: Server, deadline: Deadline, repeat: bool) -> None:
        self.deadline = deadline
        self.lost = False
        self._server, self._repeat = server, repeat
        self._began, self._tries, self._said = time.monotonic(), 0, False

    def after_loss(self, error: HttpError) -> None:
        """Wait for the next try. Raises Unreachable when there is none."""
        self.lost = self.lost or error.sent
        why = explain(error, self._server)
        if error.sent and not self._repeat:
            raise Unreachable(f"{self._server.root}: {why}; it may have been done all the same")
        why = f"{self._server.root} can't be reached: {why}"
        final = error.code in PERMANENT or (error.code == "dns_failure" and self._tries >= BROKEN_TRIES)
        if final or not self._waited(why, 0.0):
            raise Unreachable(why)

    def after(self, reply: Response) -> bool:
        """Wait for the next try after an answer that says "not now"; False when there is none."""
        self.lost = self.lost or reply.status != 429
        if reply.status == 500 and self._tries >= BROKEN_TRIES:
            return False
        asked = reply.headers.get("retry-after", "").strip()
        pause = min(float(asked), LONGEST_ASKED) if asked.isascii() and asked.isdecimal() else 0.0
        return self._repeat and self._waited(f"{self._server.root} answered {reply.status}", pause)

    def _waited(self, why: str, pause: float) -> bool:
        wait = max(pause, min(FIRST_WAIT * 2**self._tries, LONGEST_WAIT) * random.uniform(0.5, 1.0))
        left = self.deadline.remaining()
        if wait >= left:
            return False
        if not self._said and time.monotonic() - self._began + wait > SAID_AFTER:
            log.warning("%s; trying again for %.0f s", why, left)
            self._said = True
        self._tries = min(self._tries + 1, 16)
        time.sleep(wait)
        return True


def _written(body: Any) -> bytes:
    try:
        written = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent("body", f"can't be written as JSON: {error}") from None
    if len(written) > LARGEST:
        raise InvalidEvent("body", "The body is larger than 1 MB: alerts are short; link to what is long.")
    return written
