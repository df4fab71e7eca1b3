"""Read the platform's key set (JWKS) from a file or URL, and again when a token names an unknown key."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from alertctl.config.checks import SHORTEST_RSA_KEY, rsa_bits
from alertctl.errors import NotAllowed, Unreachable
from alertctl.http.client import HttpClient

log = logging.getLogger("alertctl.api")
MIN_INTERVAL = 10.0
"""Shortest time in seconds between two readings, failed ones included: made-up key ids must not cause many requests."""
MAX_AGE = 600.0
"""Seconds after which the set is read again, so that a withdrawn key is not trusted forever."""
FETCH_TIMEOUT = 5.0
"""Seconds that fetching the set may take: a call with a new key waits for it."""
MAX_WAITING = 8
"""Calls that may wait for a reading at once: each holds a thread, and other calls need threads too."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of the set. `algorithm` is the one that the set declares, None when it declares none."""

    jwk: jwt.PyJWK
    algorithm: str | None

    def is_for(self, algorithm: str) -> bool:
        """Return whether the set allows this algorithm for the key. A token's header doesn't count."""
        if self.jwk.public_key_use not in (None, "sig"):
            return False
        if self.algorithm is None and self.jwk.key_type == "RSA":
            return algorithm.startswith(("RS", "PS"))
        return self.jwk.algorithm_name == algorithm


class KeySet:
    """Keys by their `kid`. Safe to use from several threads; `fetch` returns the document's bytes.

    A background thread reads the set. A call with a known key never waits for it, even when the set is older than
    `max_age` seconds; a call with an unknown key does. `pause` is the shortest time in seconds between two readings.
    """

    def __init__(self, fetch: Callable[[], bytes], pause: float = MIN_INTERVAL, max_age: float = MAX_AGE) -> None:
        self._fetch = fetch
        self._pause = pause
        self._max_age = max_age
        self._lock = threading.Lock()
        self._waiting = threading.Semaphore(MAX_WAITING)
        self._keys: list[_Key] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: threading.Thread | None = None

    def key(self, kid: str | None, algorithm: str) -> Any:
        """Return the key for a token's header.

        Raises NotAllowed for an unknown key, Unreachable if the set can't be read and so may have the key by now.
        """
        known = self._find(kid)
        if known is None:
            self._wait_for_reading()
            known = self._find(kid)
        elif time.monotonic() - self._read_at > self._max_age:
            self._refresh()
        if known is None and self._read_at < self._tried_at:
            raise Unreachable("the platform's key set (JWT_JWKS) cannot be read")
        if known is None:
            raise NotAllowed("the token's key is not in the platform's key set")
        if not known.is_for(algorithm):
            raise NotAllowed("the token's key is not for its algorithm")
        return known.jwk.key

    def _find(self, kid: str | None) -> _Key | None:
        keys = self._keys or []
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.jwk.key_id == kid), None)

    def _wait_for_reading(self) -> None:
        reading = self._refresh()
        if reading is not None and self._waiting.acquire(blocking=False):
            try:
                reading.join(FETCH_TIMEOUT + 1)
            finally:
                self._waiting.release()

    def _refresh(self) -> threading.Thread | None:
        """Start reading the set. Returns the thread that reads it, None when it is too soon for another reading."""
        with self._lock:
            if self._reading is not None and self._reading.is_alive():
                return self._reading
            now = time.monotonic()
            if now - self._tried_at < self._pause:
                return None
            self._tried_at = now
            self._reading = threading.Thread(target=self._read, name="alertctl-jwks", daemon=True)
            self._reading.start()
            return self._reading

    def _read(self) -> None:
        try:
            self._keys = _parse(self._fetch())
            self._read_at = time.monotonic()
        except Exception as error:
            # Keep the known keys when the document is invalid; a later call reads it again.
            log.warning("JWT_JWKS cannot be read: %s", error)


def _parse(document: bytes) -> list[_Key]:
    content = json.loads(document)
    members = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(members, list):
        if isinstance(content, dict) and "jwks_uri" in content:
            raise ValueError("this is a discovery document; set JWT_JWKS to the jwks_uri in it")
        raise ValueError('not a key set: {"keys": […]}')
    short = [key for key in members if (rsa_bits(key) or SHORTEST_RSA_KEY) < SHORTEST_RSA_KEY]
    if short:
        log.warning("JWT_JWKS: ignored %d RSA keys of less than %d bits", len(short), SHORTEST_RSA_KEY)
        members = [key for key in members if key not in short]
    # PyJWKSet rejects an empty set; here it withdraws all keys.
    usable = jwt.PyJWKSet(members).keys if members else []
    algorithms = {str(key.get("kid")): key.get("alg") for key in reversed(members) if isinstance(key, dict)}
    return [_Key(jwk, algorithms.get(str(jwk.key_id))) for jwk in usable]


def make_fetch(location: str, ca_bundle: str) -> Callable[[], bytes]:
    """Return a function that reads the key set from a URL or a file."""
    if not location.lower().startswith(("http://", "https://")):
        return Path(location).read_bytes
    client = HttpClient(FETCH_TIMEOUT, ca_bundle or None, pool_size=1)

    def fetch() -> bytes:
        response = client.request("GET", location, {"Accept": "application/json"})
        if response.status != 200 or response.truncated:
            raise ValueError(f"HTTP {response.status}{', cut off' if response.truncated else ''}")
        return response.body

    return fetch
