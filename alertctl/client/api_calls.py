"""Call the HTTP API of a server: retry within the timeout where that is safe, and raise the errors it answers."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from alertctl.client.server_config import ServerConfig, current_token
from alertctl.config.urls import ROUTES
from alertctl.deadline import Deadline
from alertctl.errors import (
    AlertctlError,
    ConfigError,
    Conflict,
    InvalidEvent,
    NotAllowed,
    NotFound,
    RefusedByProxy,
    Unreachable,
)
from alertctl.http.client import HttpClient, Response, StreamHandlers
from alertctl.http.errors import HttpError
from alertctl.schemas import from_json

T = TypeVar("T")
log = logging.getLogger("alertctl.client")
PROBLEM_JSON = "application/problem+json"
MAX_ERROR_TEXT = 500
"""Characters of a server's text that an error shows."""
TRANSIENT_STATUSES = frozenset((408, 429, 500, 502, 503, 504))
"""Statuses that are worth a retry."""
PROXY_STATUSES = (408, 413, 429, 500, 502, 503, 504)
"""Statuses with which a proxy answers instead of the server."""
PROXY_AUTH = "the proxy requires a user name and password; put them into the proxy's address (HTTP_PROXY, HTTPS_PROXY)"
MAX_BROKEN_REPEATS = 2
"""Retries after a 500 or a failed name look-up, which are rarely temporary."""
MAX_BODY = 1024 * 1024
"""Largest request body in bytes; the server's limit is the same."""
MAX_REPLY = 64 << 20
"""Largest reply in bytes: a thousand users or a hundred deliveries need less than one million."""
CONNECT_SECONDS = 5.0
"""Timeout for look-up, connection and TLS together."""
IDLE_SECONDS = 3
"""Seconds after which a kept connection is not reused: uvicorn closes an idle one after 5 s."""
MIN_BACKOFF, MAX_BACKOFF = 0.1, 3.0
"""Seconds before the first retry and before any later one, with up to half of it random."""
MAX_RETRY_AFTER = 30.0
"""Longest Retry-After in seconds that is respected."""
WARN_AFTER = 2.0
"""Seconds of failures after which a warning is logged."""
STREAM_TIMEOUT = 20.0
"""Seconds without data, keepalives included, after which a stream counts as broken."""
ERROR_MESSAGES = {
    "no_reply": "the server closed the connection without an answer",
    "incomplete_reply": "the connection broke in the middle of the answer",
    "bad_reply": "the answer is not HTTP",
    "endless_reply": "the answer is too long",
    "dns_failure": "the host name cannot be resolved",
    "tls_not_spoken": "the TLS handshake failed; does the server use http://?",
    "tls_failed": "the TLS handshake failed; does the server use http://?",
    "proxy_auth": PROXY_AUTH,
    "connection_refused": "connection refused",
    "connection_reset": "the connection broke",
    "connection_lost": "the connection broke",
}
ADVICE = {
    "connection_refused": "; start alertctl serve there, or correct ALERTCTL_SERVER",
    "connect_timeout": "; check the network and ALERTCTL_SERVER",
    "dns_timeout": "; check this machine's DNS",
    "dns_failure": "; correct ALERTCTL_SERVER",
    "proxy_failed": "; correct the proxy's address (HTTP_PROXY, HTTPS_PROXY), or add the host to NO_PROXY",
    "proxy_untrusted": "; correct the proxy's address, or set ALERTCTL_CA_BUNDLE",
}
"""The advice after an error, by its code."""
UNTRUSTED = ("tls_untrusted", "tls_wrong_host", "tls_expired")
PERMANENT = frozenset(
    (
        *UNTRUSTED,
        *("bad_reply", "endless_reply", "tls_not_spoken", "tls_failed", "proxy_auth", "proxy_untrusted", "bad_request"),
    )
)
"""Error codes that a retry cannot fix."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """The reply to a call. `repeated`: an earlier try was sent and its reply lost, so it may have been processed."""

    data: Any
    headers: Mapping[str, str]
    repeated: bool = False


class ApiCalls:
    """Calls the API of one server, one call at a time.

    `problem` is why the call that is running is tried again, empty at its first try.
    """

    def __init__(self, server: ServerConfig) -> None:
        self.server = server
        self.problem = ""
        self._token = server.token
        parts = urlsplit(server.root)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._http = HttpClient(
            server.timeout,
            server.ca_bundle,
            connect_timeout=CONNECT_SECONDS,
            pool_size=1,
            max_body=MAX_REPLY,
            max_idle=IDLE_SECONDS,
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, wait: float = 0.0) -> Any:
        """Return the JSON at a path. `wait`: seconds that the server may wait before it answers."""
        return self.request("GET", path, query=query, wait=wait).data

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
        wait: float = 0.0,
    ) -> CallResult:
        """Make a call and return its result. `repeat`: doing it twice is harmless; else it is never sent twice.

        Raises Unreachable when the time is up, ConfigError for an unusable CA bundle or proxy, and the error that the
        server answers.
        """
        sent, content = {**self._headers(), **(headers or {})}, b""
        if body is not None:
            sent["Content-Type"], content = "application/json", _encode(body)
        url = self._url(path, query)
        retries = _Retries(self, Deadline(self.server.timeout + wait), repeat)
        self.problem = ""
        while True:
            try:
                remaining = retries.deadline.remaining()
                reply = self._http.request(method, url, sent, content, timeout=remaining, new_connection=not repeat)
                if reply.truncated:
                    code = "endless_reply" if len(reply.body) >= MAX_REPLY else "incomplete_reply"
                    raise HttpError(code, "the reply was cut off", sent=True)
            except HttpError as error:
                retries.wait_after_error(error)
            else:
                if reply.status not in TRANSIENT_STATUSES or not retries.wait_after_reply(reply):
                    return CallResult(json_data(reply, self.server), reply.headers, retries.lost)

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
        """Open a stream once and pass its data to `received` until it ends or `stopped` returns true.

        Raises HttpError, Unreachable, or the error that the server answers.
        """

        def is_stream(head: Response) -> bool:
            if _media_type(head) != "text/event-stream":
                return False
            opened()
            return True

        timeout = min(self.server.timeout, STREAM_TIMEOUT)
        handlers = StreamHandlers(is_stream, received, stopped, STREAM_TIMEOUT, timeout)
        sent = {**self._headers(), "Accept": "text/event-stream", **headers}
        reply = self._http.stream(self._url(path, query), sent, handlers)
        if reply.status != 200 or _media_type(reply) != "text/event-stream":
            raise error_from(reply, self.server)

    def renew_token(self) -> bool:
        """Read ALERTCTL_TOKEN_FILE again. Returns whether it holds another token."""
        token = current_token(self.server)
        is_new = bool(token) and token != self._token
        self._token = token if is_new else self._token
        return is_new

    def parse(self, kind: type[T], data: Any) -> T:
        """Return the data of a reply as a schema. Raises Unreachable when it doesn't fit."""
        try:
            return from_json(kind, data)
        except ValueError as error:
            log.debug("%s: %s", self.server.root, error)
            raise unexpected_json(self.server) from None

    def parse_items(self, kind: type[T], data: Any) -> list[T]:
        """Return the `items` of a reply as schemas. Raises Unreachable when they don't fit."""
        items = data.get("items") if isinstance(data, dict) else None
        if not isinstance(items, list):
            raise unexpected_json(self.server)
        return [self.parse(kind, item) for item in items]

    def _headers(self) -> dict[str, str]:
        """Return the headers of every call. Raises NotAllowed without a token."""
        if not self._token:
            raise NotAllowed(
                f"ALERTCTL_TOKEN is not set, and {self.server.root} requires it; "
                "set it to a token that an admin of that server created (alertctl token create)"
            )
        return {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}

    def _url(self, path: str, query: Mapping[str, Any] | None) -> str:
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        return f"{self._base}{ROUTES}{path}" + (f"?{urlencode(parameters, doseq=True)}" if parameters else "")


def unexpected_json(server: ServerConfig) -> Unreachable:
    """Return the error for a reply in JSON that isn't the one that this call gets."""
    return Unreachable(
        f"{server.root} sent JSON that alertctl does not expect: "
        "correct ALERTCTL_SERVER, or upgrade the older of the two"
    )


def explain(error: HttpError, server: ServerConfig) -> str:
    """Return why no reply came. Raises ConfigError when a setting of this machine is the cause."""
    if error.code == "bad_ca_bundle":
        raise ConfigError([error.detail])
    if error.code == "bad_proxy_url":
        raise ConfigError([f"{urlsplit(server.root).scheme.upper()}_PROXY: {error.detail}"])
    if error.code in UNTRUSTED:
        return f"the server's certificate is not trusted: {error.detail} (ALERTCTL_CA_BUNDLE)"
    if error.code in ("connect_timeout", "dns_timeout"):
        return f"no answer within {min(CONNECT_SECONDS, server.timeout):g} s"
    if error.code == "timeout":
        return f"no answer within {server.timeout:g} s"
    return ERROR_MESSAGES.get(error.code, error.detail)


class _Retries:
    """The retries of one call: its deadline, whether another try is worthwhile, and the wait before it."""

    def __init__(self, calls: ApiCalls, deadline: Deadline, repeat: bool) -> None:
        self.deadline = deadline
        self.lost = False
        self._calls, self._server, self._repeat = calls, calls.server, repeat
        self._started_at = time.monotonic()
        self._tries = 0
        self._warned = False

    def wait_after_error(self, error: HttpError) -> None:
        """Wait for the next try. Raises Unreachable when there is none."""
        self.lost = self.lost or error.sent
        cause = explain(error, self._server)
        if error.sent and not self._repeat:
            raise Unreachable(f"{self._server.root}: {cause}; the request may have taken effect")
        cause = f"{self._server.root} can't be reached: {cause}"
        final = error.code in PERMANENT or (error.code == "dns_failure" and self._tries >= MAX_BROKEN_REPEATS)
        if final or not self._wait(cause, 0.0):
            raise Unreachable(cause + ADVICE.get(error.code, ""))

    def wait_after_reply(self, reply: Response) -> bool:
        """Wait for the next try after a transient status. Returns False when there is none."""
        self.lost = self.lost or reply.status != 429
        if reply.status == 500 and self._tries >= MAX_BROKEN_REPEATS:
            return False
        retry_after = reply.headers.get("retry-after", "").strip()
        pause = min(float(retry_after), MAX_RETRY_AFTER) if retry_after.isascii() and retry_after.isdecimal() else 0.0
        return self._repeat and self._wait(f"{self._server.root} answered {reply.status}", pause)

    def _wait(self, cause: str, pause: float) -> bool:
        wait = max(pause, min(MIN_BACKOFF * 2**self._tries, MAX_BACKOFF) * random.uniform(0.5, 1.0))
        remaining = self.deadline.remaining()
        if wait >= remaining:
            return False
        if not self._warned and time.monotonic() - self._started_at + wait > WARN_AFTER:
            log.warning("%s; retrying for %.0f s", cause, remaining)
            self._warned = True
        self._tries = min(self._tries + 1, 16)
        self._calls.problem = cause
        time.sleep(wait)
        return True


def _encode(body: Any) -> bytes:
    try:
        content = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent("body", f"cannot be written as JSON: {error}") from None
    if len(content) > MAX_BODY:
        raise InvalidEvent("body", "The body is larger than 1 MB; shorten it, or link to the details.")
    return content


def json_data(reply: Response, server: ServerConfig) -> Any:
    """Return the JSON of a successful reply. Raises the error that any other reply means."""
    if not 200 <= reply.status < 300:
        raise error_from(reply, server)
    data = _json(reply, "application/json")
    if data is None:
        raise not_alertctl(server, reply)
    return data


def error_from(reply: Response, server: ServerConfig) -> AlertctlError:
    """Return the error that an unsuccessful reply means."""
    problem = _json(reply, PROBLEM_JSON)
    detail = str(problem.get("detail", ""))[:MAX_ERROR_TEXT] if isinstance(problem, dict) else ""
    status = reply.status
    if status in (401, 403):
        if not detail:
            return RefusedByProxy(
                f"{server.root} answered {status}, but not like alertctl; check for a proxy in between"
            )
        return NotAllowed(detail, authenticated=status == 403)
    if 300 <= status < 400:
        location = reply.headers.get("location", "").partition("?")[0][:MAX_ERROR_TEXT]
        return Unreachable(f"{server.root} redirects to {location}; set ALERTCTL_SERVER to the final address")
    if not detail:
        return not_alertctl(server, reply)
    if status >= 500 or status in (408, 429):
        return Unreachable(f"{server.root} answered {status}: {detail}")
    if status == 404:
        return NotFound(detail)
    if status == 409:
        return Conflict(detail)
    errors = problem.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    field = str(first.get("field") or "body")
    return InvalidEvent(field, detail.removeprefix(f"{field}: "))


def not_alertctl(server: ServerConfig, reply: Response) -> Unreachable:
    """Return the error for a reply that no alertctl server sends."""
    if reply.status == 407:
        return Unreachable(f"{server.root} can't be reached: {PROXY_AUTH}")
    if reply.status in PROXY_STATUSES:
        # ALERTCTL_SERVER may be right: a proxy answers like this while alertctl serve is not running.
        advice = "start alertctl serve there, or check the proxy before it"
        return Unreachable(f"{server.root} answered {reply.status}, but not like alertctl; {advice}")
    kind = reply.headers.get("content-type", "nothing").partition(";")[0][:80]
    return Unreachable(f"{server.root} is not an alertctl server ({reply.status}, {kind}); correct ALERTCTL_SERVER")


def _json(reply: Response, kind: str) -> Any:
    """Return the reply's JSON, None when the content type differs or the JSON is broken."""
    if _media_type(reply) != kind:
        return None
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None


def _media_type(reply: Response) -> str:
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower()
