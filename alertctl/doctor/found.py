"""What one check found out, in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alertctl.errors import DeliveryError, Reason


class Outcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Works, or may work, but somebody should look at it."""
    FAILURE = "failure"
    """Messages don't arrive because of this."""
    UNKNOWN = "unknown"
    """Can't tell: what would show it isn't allowed to us, or something before it has failed. Not a "no"."""


@dataclass(frozen=True, slots=True)
class Found:
    """`what` may quote a provider and isn't redacted yet; `fix` is our own sentence, empty for what is ok."""

    outcome: Outcome
    what: str
    fix: str = ""


def ok(what: str) -> Found:
    return Found(Outcome.OK, what)


def warning(what: str, fix: str) -> Found:
    return Found(Outcome.WARNING, what, fix)


def failure(what: str, fix: str) -> Found:
    return Found(Outcome.FAILURE, what, fix)


def unknown(what: str, fix: str = "") -> Found:
    return Found(Outcome.UNKNOWN, what, fix)


def outcome_of(error: DeliveryError) -> Outcome:
    """A provider that is busy or down says nothing about our settings; one that refuses, or can't be reached, does."""
    if error.reason is Reason.RATE_LIMITED:
        return Outcome.UNKNOWN
    passing = error.reason in (Reason.UNAVAILABLE, Reason.AMBIGUOUS)
    return Outcome.UNKNOWN if passing and _is_answer(error.code) else Outcome.FAILURE


_SLACK_IS_DOWN = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})


def _is_answer(code: str) -> bool:
    """Whether the code is the provider's own word, or an HTTP or SMTP status, and not that of a broken network.

    A redirect is none: no provider redirects its API, but a gateway that wants a login first does.
    """
    status = code.startswith("http_") and not code.startswith("http_3")
    return code.isdigit() or status or code in _SLACK_IS_DOWN
