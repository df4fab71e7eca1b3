"""Log each final failure, and each pause that a provider asks for, in one line."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from alertctl.errors import DeliveryError, Reason
from alertctl.outbox import AttemptResult, ClaimScope
from alertctl.retry import rate_limit_wait
from alertctl.text import counted

log = logging.getLogger("alertctl.dispatcher")
MAX_LINES = 20
"""Final failures of one transaction that get a line of their own."""


def log_attempts(scope: ClaimScope, ended: Sequence[AttemptResult], final: Sequence[bool]) -> None:
    """Log the attempts that ended without success and are worth a line. `final`: the delivery is not retried."""
    failures = [
        (attempt.claimed, attempt.result, is_final)
        for attempt, is_final in zip(ended, final, strict=True)
        if isinstance(attempt.result, DeliveryError)
    ]
    failed = [(claimed, error) for claimed, error, is_final in failures if is_final]
    for claimed, error in failed[:MAX_LINES]:
        log.warning(
            "%s %s: %s, not retried (attempt %d); alertctl log show %s",
            scope.channel,
            claimed.address,
            error.code,
            claimed.attempt,
            claimed.delivery_id[-8:],
        )
    if len(failed) > MAX_LINES:
        more = counted(len(failed) - MAX_LINES, "more delivery")
        log.warning("%s: %s failed; alertctl log --status failed", scope.channel, more)
    pauses = [error for _, error, _ in failures if error.reason is Reason.RATE_LIMITED and error.entire_provider]
    if pauses:
        seconds = max(map(rate_limit_wait, pauses))
        log.warning("%s is paused for %.0f s (%s)", scope.provider, seconds, pauses[-1].code)
