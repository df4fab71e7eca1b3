"""The platform's key set (JWKS): read from a file or URL, kept, and read again when a token names an unknown key."""

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

from alertctl.errors import NotAllowed, Unreachable
from alertctl.http.client import HttpClient

log = logging.getLogger("alertctl.api")
PAUSE = 10.0
"""Seconds between two readings at least, failed ones included: a flood of made-up key ids must not become a flood of
requests."""
MAX_AGE = 600.0
"""Seconds after which the set is read anew, so that a withdrawn key is not trusted for ever."""
DEADLINE = 5.0
"""Seconds that fetching the set may last: a call with a new key waits for it."""


@dataclass(frozen=True, slots=True)
class _Key:
    """`algorithm` is the one that the set declares, None when it declares none."""

    jwk: jwt.PyJWK
    algorithm: str | None

    def is_for(self, algorithm: str) -> bool:
        """Whether the set made the key for this, whatever a token's header says."""
        if self.jwk.public_key_use not in (None, "sig"):
            return False
        if self.algorithm is None and self.jwk.key_type == "RSA":
            return algorithm.startswith(("RS", "PS"))
        return self.jwk.algorithm_name == algorithm


class KeySet:
    """Keys by their `kid`. Safe to use from many threads at once; `fetch` returns the document's bytes.

    One thread reads the set in the background. A call with a known key never waits for it, also when the set is older
    than `max_age`; a call with an unknown key does. `pause` lies between two readings; both are in seconds.
    """

    def __init__(self, fetch: Callable[[], bytes], pause: float = PAUSE, max_age: float = MAX_AGE) -> None:
        self._fetch, self._pause, self._max_age = fetch, pause, max_age
        self._lock = threading.Lock()
        self._keys: list[_Key] | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: threading.Thread | None = None

    def key(self, kid: str | None, algorithm: str) -> Any:
        """The key for a token's header. Raises NotAllowed for an unknown one, Unreachable when no set was ever read."""
        known = self._find(kid)
        if known is None:
            reading = self._refresh()
            if reading is not None:
                reading.join(DEADLINE + 1)
            known = self._find(kid)
        elif time.monotonic() - self._read_at > self._max_age:
            self._refresh()
        if self._keys is None:
            raise Unreachable("the platform's key set (JWT_JWKS) can't be read")
        if known is None:
            raise NotAllowed("the token names a key that the platform's key set doesn't have")
        if not known.is_for(algorithm):
            raise NotAllowed("the token's key is not for its algorithm")
        return known.jwk.key

    def _find(self, kid: str | None) -> _Key | None:
        keys = self._keys or []
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.jwk.key_id == kid), None)

    def _refresh(self) -> threading.Thread | None:
        """Begin to read the set. Returns the thread that reads it, None when it is too soon for another reading."""
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
            # Whatever is wrong with the document: the keys that are known stay, and the next call looks again.
            log.warning("JWT_JWKS can't be read: %s", error)


def _parse(document: bytes) -> list[_Key]:
    content = json.loads(document)
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise ValueError('not a key set: {"keys": […]}')
    # PyJWKSet takes an empty set for an error; here it withdraws all keys.
    usable = jwt.PyJWKSet(listed).keys if listed else []
    declared = {str(key.get("kid")): key.get("alg") for key in reversed(listed) if isinstance(key, dict)}
    return [_Key(jwk, declared.get(str(jwk.key_id))) for jwk in usable]


def fetcher(place: str, ca_bundle: str) -> Callable[[], bytes]:
    """What reads a key set from its place, a URL or a file's path."""
    if not place.lower().startswith(("http://", "https://")):
        return Path(place).read_bytes
    client = HttpClient(DEADLINE, ca_bundle or None, pool_size=1)

    def fetch() -> bytes:
        response = client.request("GET", place, {"Accept": "application/json"})
        if response.status != 200 or response.truncated:
            raise ValueError(f"HTTP {response.status}{', cut off' if response.truncated else ''}")
        return response.body

    return fetch
