"""Every error that alertctl raises.

AlertctlError                 anything a person should read as one line
├── ConfigError               a setting is wrong; start-up only, never swallowed
├── InvalidEvent              an event is wrong (not: incomplete); names the field
├── Conflict                  the same idempotency key came with a different body
├── NotFound                  no such delivery, event, user, ...; or an id that fits several
├── NotAllowed                no credentials, bad ones, or a role too low
├── Unreachable               the database, or the server in remote mode, can't be reached
└── DeliveryError             a provider didn't take a message; `reason` says what comes next
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class AlertctlError(Exception):
    """One line for a person. `exit_code` is what a command ends with."""

    exit_code = 1


class ConfigError(AlertctlError):
    """Settings are wrong. `problems` has one clear line each, beginning with the variable's name."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class InvalidEvent(AlertctlError):
    """Input is wrong. `field` names the culprit (dotted for nested ones), the message says what would be right."""

    exit_code = 2

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Conflict(AlertctlError):
    """An idempotency key was used before for something else."""

    exit_code = 2


class NotFound(AlertctlError):
    """No row, or more than one, answers to what was asked for."""

    exit_code = 2


class NotAllowed(AlertctlError):
    """Missing or bad credentials (`authenticated` is False), or a role too low (True)."""

    exit_code = 4

    def __init__(self, message: str, *, authenticated: bool = False) -> None:
        super().__init__(message)
        self.authenticated = authenticated


class Unreachable(AlertctlError):
    """The database or the server can't be reached now; later it may."""

    exit_code = 5


class Reason(StrEnum):
    """Why a delivery failed. The reason alone decides what comes next (see `retry.py`)."""

    RATE_LIMITED = "rate_limited"
    """Wait as long as the provider says, then try again."""
    UNAVAILABLE = "unavailable"
    """The provider surely didn't take it; try again with backoff."""
    AMBIGUOUS = "ambiguous"
    """The request went out and no verdict came back: it may have arrived. Try again, marked."""
    CONFIG = "config"
    """The provider refused our credentials or settings: the delivery waits, and this process stops calling it."""
    LOCAL = "local"
    """This machine failed: DNS, no route, no file descriptors, no memory. Try again, at the last interval finally."""
    BAD_ADDRESS = "bad_address"
    """This address will never take it."""
    REJECTED = "rejected"
    """The provider dislikes this message: once more as plain text, then stop."""
    EXPIRED = "expired"
    """Too late: the event's `expires_at` has passed, or the delivery waited for ALERTCTL_MAX_AGE. Final."""


class DeliveryError(AlertctlError):
    """A provider didn't take a message.

    `code` is the provider's own word (`channel_not_found`, `unauthorized`, `550`), at most 100 characters.
    `detail` is what it said, for the attempt's record, already redacted and cut to 2 kB.
    `retry_after` is in seconds, already bounded to 1..3600, None when the provider named no time.
    `entire_provider` is True when a rate limit concerns every address of the provider.
    """

    def __init__(
        self,
        reason: Reason,
        code: str,
        *,
        detail: str = "",
        retry_after: float | None = None,
        entire_provider: bool = False,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.reason = reason
        self.code = code[:100]
        self.detail = detail
        self.retry_after = retry_after
        self.entire_provider = entire_provider
