"""The result of one check, and the fix for a failure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from alertctl.error_codes import SETTINGS, SLACK_CODES, fix, known_fix
from alertctl.errors import DeliveryError, Reason


class CheckOutcome(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Works, or may work, but needs a look."""
    FAILURE = "failure"
    """Messages don't arrive because of this."""
    UNKNOWN = "unknown"
    """Not known: we may not read it, or an earlier check failed. Not a "no"."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`what` may quote a provider and isn't redacted yet; `fix` is our own sentence, empty for OK."""

    outcome: CheckOutcome
    what: str
    fix: str = ""


class CheckEnded(Exception):
    """Ends a check early with this result."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(result.what)
        self.result = result


def ok(what: str) -> CheckResult:
    return CheckResult(CheckOutcome.OK, what)


def warning(what: str, fix: str) -> CheckResult:
    return CheckResult(CheckOutcome.WARNING, what, fix)


def failure(what: str, fix: str) -> CheckResult:
    return CheckResult(CheckOutcome.FAILURE, what, fix)


def unknown(what: str, fix: str = "") -> CheckResult:
    return CheckResult(CheckOutcome.UNKNOWN, what, fix)


def outcome_of(error: DeliveryError) -> CheckOutcome:
    """Return FAILURE when a provider refuses us or can't be reached, UNKNOWN when it is busy or down."""
    if error.reason is Reason.RATE_LIMITED:
        return CheckOutcome.UNKNOWN
    passing = error.reason in (Reason.UNAVAILABLE, Reason.AMBIGUOUS)
    return CheckOutcome.UNKNOWN if passing and _is_from_provider(error.code) else CheckOutcome.FAILURE


_SLACK_IS_DOWN = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})


def _is_from_provider(code: str) -> bool:
    """Return whether the code is the provider's own, or an HTTP or SMTP status, and not a network error.

    A redirect doesn't count: no provider redirects its API, but a network gateway with a login page does.
    """
    status = code.startswith("http_") and not code.startswith("http_3")
    return code.isdigit() or status or code in _SLACK_IS_DOWN


_SLACK_CODES = frozenset(entry.code for entry in SLACK_CODES)


def fix_for(error: DeliveryError, provider: str) -> str:
    """Return what to do about a provider's failure, as one sentence."""
    if outcome_of(error) is CheckOutcome.UNKNOWN:
        return "Run alertctl doctor again in a few minutes: the provider is busy or has an outage."
    known = known_fix(error.code, error.reason, provider)
    if known:
        return known
    if is_slack_code(error):
        method = "chat.postMessage" if error.code in _SLACK_CODES else "auth.test"
        return f"Look up {error.code} at docs.slack.dev/reference/methods/{method}, and correct the app's settings."
    more = "SMTP_PORT and the firewall" if provider == "smtp" else "the firewall and HTTPS_PROXY"
    return f"Check {SETTINGS[provider]}, {more}: this machine cannot reach the provider."


def is_slack_code(error: DeliveryError) -> bool:
    """Return whether the code is Slack's own, known or not (see `channels.slack.errors.slack_reason`)."""
    return error.code in _SLACK_CODES or (error.reason is Reason.REJECTED and not error.code.startswith("http_"))


def fix_for_pauses(refusals: Iterable[tuple[str, str, str | None]]) -> str:
    """Return what to do about refusals of our credentials or settings; each is a code, a provider and an answer."""
    fixes = dict.fromkeys(fix(code, Reason.CONFIG, provider, answer=answer) for code, provider, answer in refusals)
    return " ".join([*fixes, "Then restart the daemon: it sends the waiting deliveries."])
