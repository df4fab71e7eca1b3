"""Every error that alertctl raises.

AlertctlError                 any error that a person reads as one line
├── ConfigError               a setting is wrong; raised at start-up only
│   └── UnusableDatabase      DATABASE_URL is right, but its database needs a step first
├── InvalidEvent              an event has an invalid field; names the field
├── Conflict                  an idempotency key was used before for another body
├── NotFound                  no such delivery, event, user …; or an ambiguous id
├── NotAllowed                missing or bad credentials, or a role too low
│   └── RefusedByProxy        a 401 or 403 that is not from alertctl serve
├── Unreachable               the database, or the server in remote mode, can't be reached
└── DeliveryError             a provider did not accept a message; `reason` decides about a retry
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class AlertctlError(Exception):
    """An error with a message for a person. `exit_code` is the command's exit code."""

    exit_code = 1


class ConfigError(AlertctlError):
    """Settings are wrong. `problems` has a line for each, beginning with the variable's name."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UnusableDatabase(ConfigError):
    """The database has its right address and can't be used yet: upgrade alertctl, install the driver."""


class InvalidEvent(AlertctlError):
    """Input is wrong. `field` is the name of the field (dotted if nested); the message says what is valid."""

    exit_code = 2

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Conflict(AlertctlError):
    """An idempotency key was used before for a different request."""

    exit_code = 2


class NotFound(AlertctlError):
    """No row matches, or more than one."""

    exit_code = 2


class NotAllowed(AlertctlError):
    """Missing or bad credentials (`authenticated` is False), or a role too low (True).

    `caller` is the name of the user for the log, empty if it is unknown or in the message.
    """

    exit_code = 4

    def __init__(self, message: str, *, authenticated: bool = False, caller: str = "") -> None:
        super().__init__(message)
        self.authenticated = authenticated
        self.caller = caller


class RefusedByProxy(NotAllowed):
    """An HTTP 401 or 403 that is not from alertctl serve: it has not seen the token."""


class Unreachable(AlertctlError):
    """The database or the server can't be reached at the moment."""

    exit_code = 5


class Stopping(Unreachable):
    """The daemon is stopping, so its database takes no more work from it."""


class Reason(StrEnum):
    """Why a delivery failed. The reason alone decides about a retry (see `retry.py`)."""

    RATE_LIMITED = "rate_limited"
    """The provider asked to wait. Retry after that time."""
    UNAVAILABLE = "unavailable"
    """The provider did not accept the message. Retry with backoff."""
    AMBIGUOUS = "ambiguous"
    """The request was sent and no answer arrived, so the message may have arrived. Retry, marked as ambiguous."""
    CONFIG = "config"
    """The provider rejected our credentials or settings. The delivery waits, and this process stops calling it."""
    LOCAL = "local"
    """This machine failed: DNS, route, file descriptors, memory. Retry, finally at the last interval."""
    BAD_ADDRESS = "bad_address"
    """The provider cannot deliver to this address. Final."""
    REJECTED = "rejected"
    """The provider rejected this message. Retry once as plain text."""
    EXPIRED = "expired"
    """Too late: the event's `expires_at` has passed, or the delivery waited for ALERTCTL_MAX_AGE. Final."""


class DeliveryError(AlertctlError):
    """A provider did not accept a message.

    `code` is the provider's own code (`channel_not_found`, `unauthorized`, `550`), at most 100 characters.
    `detail` is its answer, for the attempt's record, already redacted and truncated to 2 kB.
    `retry_after` is in seconds, already within 1 to 3600, None if the provider named no time.
    `entire_provider`: a rate limit applies to every address of the provider.
    `feature_only`: a refusal of our settings (CONFIG) concerns one feature, such as a missing scope. Messages that do
    not need it go on.
    """

    def __init__(
        self,
        reason: Reason,
        code: str,
        *,
        detail: str = "",
        retry_after: float | None = None,
        entire_provider: bool = False,
        feature_only: bool = False,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.reason = reason
        self.code = code[:100]
        self.detail = detail
        self.retry_after = retry_after
        self.entire_provider = entire_provider
        self.feature_only = feature_only
