"""What an HTTP status, or no answer at all, means for a delivery when the body says nothing better."""

from __future__ import annotations

from datetime import UTC, datetime

from alertctl.errors import DeliveryError, Reason
from alertctl.http.errors import HttpError
from alertctl.http.response import Response
from alertctl.retry import retry_after

NAMES = {401: "unauthorized", 403: "forbidden"}
"""Statuses that go by a name in the delivery log; all others are `http_<status>`."""

REASONS = {
    301: Reason.CONFIG,
    308: Reason.CONFIG,
    401: Reason.CONFIG,
    403: Reason.CONFIG,
    404: Reason.CONFIG,
    405: Reason.CONFIG,
    407: Reason.CONFIG,
    408: Reason.UNAVAILABLE,
    410: Reason.CONFIG,
    421: Reason.UNAVAILABLE,
    425: Reason.UNAVAILABLE,
    429: Reason.RATE_LIMITED,
}
"""A redirect for good means that our address of the API is wrong; one for now, that the provider is elsewhere."""


def status_code(status: int) -> str:
    return NAMES.get(status, f"http_{status}")


def status_reason(status: int) -> Reason:
    """5xx and redirects: not taken, try again. 4xx: refused. Anything else is no verdict."""
    if status in REASONS:
        return REASONS[status]
    if 300 <= status < 400 or 500 <= status < 600:
        return Reason.UNAVAILABLE
    return Reason.REJECTED if 400 <= status < 500 else Reason.AMBIGUOUS


def status_error(reply: Response, *, detail: str = "", entire_provider: bool = True) -> DeliveryError:
    """The DeliveryError for a reply that isn't success; `detail` defaults to its body, not redacted yet."""
    reason = status_reason(reply.status)
    limited = reason is Reason.RATE_LIMITED
    wait = retry_after(reply.headers, reply.text, datetime.now(UTC)) if limited or _asks_to_wait(reply) else None
    return DeliveryError(
        reason,
        status_code(reply.status),
        detail=detail or _explained(reply),
        retry_after=wait,
        entire_provider=limited and entire_provider,
    )


def no_reply_error(error: HttpError) -> DeliveryError:
    """Return the DeliveryError for a request without a reply; its detail is not redacted yet."""
    return DeliveryError(error.reason, error.code, detail=error.detail)


def _asks_to_wait(reply: Response) -> bool:
    """A 503 may name a time, too."""
    return reply.status == 503 and bool(reply.headers.get("retry-after"))


def _explained(reply: Response) -> str:
    if 300 <= reply.status < 400:
        return f"HTTP {reply.status}, not followed: {reply.headers.get('location', 'no location')}"
    return f"HTTP {reply.status}: {reply.text}" if reply.body else f"HTTP {reply.status}, no body"
