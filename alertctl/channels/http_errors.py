"""The DeliveryError for an HTTP status, or for a missing answer, when the body says nothing more precise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient
from alertctl.http.errors import HttpError
from alertctl.http.response import Response
from alertctl.retry import retry_after

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
"""A permanent redirect means that the configured API URL is wrong; a temporary one is an outage."""


def status_reason(status: int) -> Reason:
    """Return the reason: 5xx and redirects are retried, 4xx are refusals, anything else is ambiguous."""
    if status in REASONS:
        return REASONS[status]
    if 300 <= status < 400 or 500 <= status < 600:
        return Reason.UNAVAILABLE
    return Reason.REJECTED if 400 <= status < 500 else Reason.AMBIGUOUS


def status_error(reply: Response, *, code: str = "", detail: str = "", entire_provider: bool = True) -> DeliveryError:
    """Return the DeliveryError for an unsuccessful reply, not redacted yet.

    `code` defaults to `http_<status>`, `detail` to the body.
    """
    reason = status_reason(reply.status)
    limited = reason is Reason.RATE_LIMITED
    names_time = limited or (reply.status == 503 and bool(reply.headers.get("retry-after")))
    return DeliveryError(
        reason,
        code or f"http_{reply.status}",
        detail=detail or _describe(reply),
        retry_after=retry_after(reply.headers, reply.json, datetime.now(UTC)) if names_time else None,
        entire_provider=limited and entire_provider,
    )


def no_reply_error(error: HttpError) -> DeliveryError:
    """Return the DeliveryError for a request without a reply, not redacted yet."""
    return DeliveryError(error.reason, error.code, detail=error.detail)


def post(http: HttpClient, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Response:
    """Post once, in `timeout` seconds. Raises DeliveryError, not redacted yet, when no reply came back."""
    try:
        return http.request("POST", url, headers, body, timeout=timeout)
    except HttpError as error:
        raise no_reply_error(error) from None


def _describe(reply: Response) -> str:
    if 300 <= reply.status < 400:
        return f"HTTP {reply.status}, not followed: {reply.headers.get('location', 'no location')}"
    return f"HTTP {reply.status}: {reply.text}" if reply.body else f"HTTP {reply.status}, no body"
