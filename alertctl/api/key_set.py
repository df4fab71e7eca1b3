"""The platform's key set (JWKS): read from a file or URL, kept, and read again when a token names an unknown key."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt

from alertctl.channels.transport import Transport
from alertctl.errors import AlertctlError, NotAllowed, Unreachable

log = logging.getLogger("alertctl.api")
PAUSE = 10.0
"""Seconds between two readings at least: a flood of made-up key ids must not become a flood of requests."""
MAX_AGE = 600.0
"""Seconds after which the set is read anew, so that a withdrawn key is not trusted for ever."""
DEADLINE = 5.0
"""Seconds that fetching the set may last: somebody's call is waiting."""


class KeySet:
    """Keys by their `kid`. Safe to use from many threads at once; `fetch` returns the document's bytes.

    `pause` is in seconds and lies between two readings.
    """

    def __init__(self, fetch: Callable[[], bytes], pause: float = PAUSE) -> None:
        self._fetch, self._pause = fetch, pause
        self._lock = threading.Lock()
        self._keys: list[dict[str, Any]] | None = None
        self._read_at = self._tried_at = float("-inf")

    def key(self, kid: str | None, algorithm: str) -> Any:
        """The key for a token's header. Raises NotAllowed for an unknown one, Unreachable when no set was ever read."""
        found = self._find(kid)
        if found is None or time.monotonic() - self._read_at > MAX_AGE:
            self._refresh(kid, patient=found is None)
            found = self._find(kid)
        if found is None:
            raise NotAllowed("the token names a key that the platform's key set doesn't have")
        # A key is used for what the set made it for, whatever the token's header says.
        if found.get("alg", algorithm) != algorithm or found.get("use", "sig") != "sig":
            raise NotAllowed("the token's key is not for its algorithm")
        return jwt.PyJWK(found, algorithm=algorithm).key

    def _find(self, kid: str | None) -> dict[str, Any] | None:
        keys = self._keys or []
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.get("kid") == kid), None)

    def _refresh(self, kid: str | None, *, patient: bool) -> None:
        # Whose key is known needn't wait while another call reads the set anew: the place may be slow.
        if not self._lock.acquire(blocking=patient):
            return
        try:
            now = time.monotonic()
            # Another thread may have read it while this one waited.
            if self._find(kid) is not None and now - self._read_at <= MAX_AGE:
                return
            if now - self._tried_at >= self._pause:
                self._tried_at = now
                self._read()
        finally:
            self._lock.release()
        if self._keys is None:
            raise Unreachable("the platform's key set (JWT_JWKS) can't be read")

    def _read(self) -> None:
        try:
            self._keys = _keys(self._fetch())
            self._read_at = time.monotonic()
        except (AlertctlError, OSError, ValueError, RecursionError) as error:
            log.warning("JWT_JWKS can't be read: %s", error)


def _keys(document: bytes) -> list[dict[str, Any]]:
    found = json.loads(document)
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ValueError('not a key set: {"keys": […]}')
    return [key for key in keys if isinstance(key, dict)]


def fetcher(place: str, ca_bundle: str) -> Callable[[], bytes]:
    """What reads a key set from its place, a URL or a file's path."""
    if not place.lower().startswith(("http://", "https://")):
        return Path(place).read_bytes
    transport = Transport(DEADLINE, ca_bundle or None, pool=1)

    def fetch() -> bytes:
        reply = transport.get(place, {"Accept": "application/json"})
        if reply.status != 200 or reply.truncated:
            raise ValueError(f"HTTP {reply.status}{', cut off' if reply.truncated else ''}")
        return reply.body

    return fetch
