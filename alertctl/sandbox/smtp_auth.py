"""SMTP AUTH (RFC 4954): the mechanisms PLAIN and LOGIN."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alertctl.sandbox.smtp import Credentials, Smtp

Ask = Callable[[str], Awaitable[str]]
"""Sends a prompt to the client and returns its response, both decoded."""


async def authenticate(server: Smtp, mechanism: str, initial: str, ask: Ask) -> tuple[int, str]:
    """Return the reply to AUTH, 235 for the server's credentials. `initial` is the client's initial response, or ""."""
    if mechanism.upper() not in ("PLAIN", "LOGIN"):
        return 504, "5.5.4 Unrecognized authentication type"
    try:
        credentials = await _read_credentials(mechanism.upper(), initial, ask)
    except ValueError:
        return 501, "5.5.2 Cannot decode response"
    if server.auth_error or credentials != server.credentials:
        return 535, f"5.7.8 {server.auth_error or 'Authentication credentials invalid'}"
    return 235, "2.7.0 Authentication successful"


async def _read_credentials(mechanism: str, initial: str, ask: Ask) -> Credentials:
    first_prompt = "" if mechanism == "PLAIN" else "Username:"
    response = decode(initial) if initial else await ask(first_prompt)
    if mechanism == "LOGIN":
        return response, await ask("Password:")
    _, user, password = response.split("\0")
    return user, password


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decode(text: str) -> str:
    """Decode base64. Raises ValueError."""
    return base64.b64decode(text, validate=True).decode()
