"""The reason of each of Slack's error codes."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from alertctl.channels.http_errors import status_reason
from alertctl.error_codes import SLACK_CODES
from alertctl.errors import DeliveryError, Reason
from alertctl.http.response import Response
from alertctl.retry import retry_after

_REASONS = {entry.code: entry.reason for entry in SLACK_CODES} | {"message_not_found": Reason.BAD_ADDRESS}
"""`message_not_found` is the answer of chat.update for a deleted message; the delivery log never shows it."""

ENTIRE_PROVIDER = frozenset({"message_limit_exceeded"})
"""Limits of the workspace. `ratelimited` and `rate_limited` pause one address only: Slack counts messages per channel
("1 per second per channel"). After the app's own limit each address gets a 429 of its own."""

CREDENTIAL_CODES = frozenset(
    {
        "accesslimited",
        "account_inactive",
        "invalid_auth",
        "not_authed",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    }
)
"""Codes about the token itself: no method accepts it. Other refusals may concern one method only."""

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]+")


def slack_reason(code: str, status: int = 200) -> Reason:
    """Return the reason of a code, or that of the HTTP status for an unknown code.

    An unknown code with HTTP 200 is REJECTED, so the message is sent once more as plain text.
    """
    return _REASONS.get(code) or (Reason.REJECTED if status == 200 else status_reason(status))


def refusal(reply: Response, code: str) -> DeliveryError:
    """Return the error of a reply with this code, not redacted yet."""
    reason = Reason.RATE_LIMITED if reply.status == 429 else slack_reason(code, reply.status)
    limited = reason is Reason.RATE_LIMITED
    return DeliveryError(
        reason,
        code,
        detail=reply.text,
        retry_after=retry_after(reply.headers, reply.json, datetime.now(UTC)) if limited else None,
        entire_provider=limited and code in ENTIRE_PROVIDER,
    )


def clean_code(code: object) -> str:
    """Return Slack's error code as the log shows it: unchanged if printable, at most 100 characters."""
    return _UNPRINTABLE.sub("_", code).strip("_")[:100] if isinstance(code, str) else ""
