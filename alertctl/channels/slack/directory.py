"""Find people in a Slack workspace: users.lookupByEmail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from alertctl.addresses import encode_email
from alertctl.channels.http_errors import post, status_error
from alertctl.channels.slack.errors import CREDENTIAL_CODES, clean_code, refusal
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient, Response

METHOD = "users.lookupByEmail"
USER_ID = re.compile(r"[UW][A-Z0-9]{1,30}")
_UNCHANGED = (Reason.CONFIG, Reason.LOCAL, Reason.RATE_LIMITED)
"""Reasons that a failed look-up has in common with a failed message. Any other one is UNAVAILABLE: nothing was sent."""


def find_user(http: HttpClient, api_url: str, headers: Mapping[str, str], email: str, timeout: float) -> str | None:
    """Return the id of the user with this email, None if there is none. Raises DeliveryError, not redacted yet.

    `api_url` has no slash at its end; `headers` are those of a message; `timeout` is in seconds.
    """
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"email": encode_email(email)}).encode()
    try:
        return _parse_user_reply(post(http, f"{api_url}/{METHOD}", form, body, timeout))
    except DeliveryError as error:
        if error.reason in _UNCHANGED:
            raise
        raise DeliveryError(Reason.UNAVAILABLE, error.code, detail=error.detail) from None


def _parse_user_reply(reply: Response) -> str | None:
    """Return the user's id, None if Slack knows nobody with this email. Raises DeliveryError, not redacted yet."""
    answer = {} if reply.truncated else reply.json
    user = answer.get("user")
    if reply.status == 200 and answer.get("ok") is True and isinstance(user, dict):
        user_id = user.get("id")
        if isinstance(user_id, str) and USER_ID.fullmatch(user_id):
            return user_id
    code = clean_code(answer.get("error")) if answer.get("ok") is False else ""
    if code and reply.status < 500:
        error = refusal(reply, code)
        if error.reason is Reason.BAD_ADDRESS:
            return None
        error.feature_only = error.reason is Reason.CONFIG and code not in CREDENTIAL_CODES
        raise error
    if reply.status != 200:
        raise status_error(reply, entire_provider=False)
    raise DeliveryError(Reason.UNAVAILABLE, "bad_reply", detail=f"HTTP 200: {reply.text}")
