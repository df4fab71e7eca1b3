"""SMTP AUTH (RFC 4954): the mechanisms PLAIN, LOGIN and XOAUTH2."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

Credentials = tuple[str, str]
"""User name and password, or user name and OAuth token."""
Ask = Callable[[str], Awaitable[str]]
"""Sends a prompt to the client and returns its response, both decoded."""
MECHANISMS = ("PLAIN", "LOGIN", "XOAUTH2")


async def read_credentials(mechanism: str, initial: str, ask: Ask, *, ignore_initial: bool = False) -> Credentials:
    """Return the client's credentials. `initial` is its initial response, or "". Raises ValueError.

    With `ignore_initial` the server asks for the response even if the client has sent it.
    """
    if ignore_initial:
        initial = ""
    response = decode(initial) if initial else await ask("Username:" if mechanism == "LOGIN" else "")
    if mechanism == "XOAUTH2":
        user, authorization = response.removesuffix("\1\1").split("\1")
        return user.removeprefix("user="), authorization.removeprefix("auth=Bearer ")
    if mechanism == "LOGIN":
        return response, await ask("Password:")
    _, user, password = response.split("\0")
    return user, password


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decode(text: str) -> str:
    """Decode base64. Raises ValueError."""
    return base64.b64decode(text, validate=True).decode()
