"""The reason of each of Slack's error codes."""

from __future__ import annotations

import re

from alertctl.channels.http_errors import status_reason
from alertctl.error_codes import SLACK_CODES
from alertctl.errors import Reason

_REASONS = {entry.code: entry.reason for entry in SLACK_CODES}

ENTIRE_PROVIDER = frozenset({"message_limit_exceeded"})
"""Limits of the workspace. Slack's 429 counts messages per channel ("1 per second per channel"), so `ratelimited`
and `rate_limited` pause one address; should the whole app's limit be what was hit, each address finds out by itself."""

_NOT_OF_A_CODE = re.compile(r"[^\x21-\x7e]+")


def slack_reason(code: str, status: int = 200) -> Reason:
    """Return the reason of a code, for an unknown one that of the HTTP status.

    An unknown code with HTTP 200 is REJECTED: like every rejected message it is sent once more, as plain text.
    """
    return _REASONS.get(code) or (Reason.REJECTED if status == 200 else status_reason(status))


def cleaned_code(code: object) -> str:
    """Slack's word as the log shows it: verbatim, but printable and at most 100 characters."""
    return _NOT_OF_A_CODE.sub("_", code).strip("_")[:100] if isinstance(code, str) else ""
