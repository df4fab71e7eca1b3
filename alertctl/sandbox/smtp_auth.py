"""SMTP AUTH (RFC 4954): the mechanisms PLAIN and LOGIN."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

Credentials = tuple[str, str]
"""User name and password."""
Ask = Callable[[str], Awaitable[str]]
"""Sends a prompt to the client and returns its response, both decoded."""
MECHANISMS = ("PLAIN", "LOGIN")


async def read_credentials(mechanism: str, initial: str, ask: Ask) -> Credentials:
    """Return the client's credentials. `initial` is its initial response, or "". Raises ValueError."""
    response = decode(initial) if initial else await ask("" if mechanism == "PLAIN" else "Username:")
    if mechanism == "LOGIN":
        return response, await ask("Password:")
    _, user, password = response.split("\0")
    return user, password


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decode(text: str) -> str:
    """Decode base64. Raises ValueError."""
    return base64.b64decode(text, validate=True).decode()
