"""Log each refusal and each change of rights in one line: who, what, from where. Bounded in rate."""

from __future__ import annotations

import logging

from alertctl.api.request_context import current_request

log = logging.getLogger("alertctl.audit")


def log_change(caller: str, what: str) -> None:
    """Log an action of an authorized caller."""
    _write("change", logging.INFO, f"{caller} {what}")


def log_jwt_change(user: str, what: str) -> None:
    """Log what a JWT changed about its own user. It has a limit of its own: every user can cause such lines."""
    _write("change by JWT", logging.INFO, f"{user} {what}")


def log_refusal(status: int, detail: str) -> None:
    """Log an answer 401 or 403."""
    request = current_request.get()
    _write(f"refusal {status}", logging.WARNING, f"refused {request.line if request else ''} with {status}: {detail}")


def _write(kind: str, level: int, line: str) -> None:
    request = current_request.get()
    if request is None:
        log.log(level, "%s", line)
        return
    is_admitted, omitted = request.audit_limit.admit(kind)
    if omitted:
        log.warning("%d more lines of the kind %s were left out", omitted, kind)
    if is_admitted:
        log.log(level, "%s (from %s)", line, request.client)
