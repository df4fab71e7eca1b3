"""The Slack channel: chat.postMessage over our HTTP client, with a strict check of the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from alertctl import __version__
from alertctl.channels.base import OutgoingMessage, Receipt, SendResult, rendering, result_of
from alertctl.channels.http_errors import post_json, status_error
from alertctl.channels.slack.blocks import slack_message
from alertctl.channels.slack.directory import find_user
from alertctl.channels.slack.errors import ENTIRE_PROVIDER, clean_code, slack_reason
from alertctl.content import Content
from alertctl.deadline import Deadline
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.proxies import proxy_passwords
from alertctl.retry import retry_after
from alertctl.text import Redactor, credential, one_line, redacted


class SlackChannel:
    """Posts messages with chat.postMessage. `api_url` ends with `/api/`; `token` is a bot token (`xoxb-…`)."""

    name = "slack"
    provider = "slack"
    batch_size = 1

    def __init__(self, token: str, api_url: str, http: HttpClient) -> None:
        self.deadline = http.timeout
        self._http = http
        self._token = credential(token, "SLACK_BOT_TOKEN", missing="not_authed")
        self._redact = Redactor([token, token.strip(), *proxy_passwords()])
        self._api_url = api_url.rstrip("/")
        self._url = f"{self._api_url}/chat.postMessage"
        self._headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"alertctl/{__version__}",
            "Authorization": f"Bearer {self._token}",
        }

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        deadline = Deadline(self.deadline)
        return [result_of(partial(self._post, content, outgoing, deadline), self._redact) for outgoing in messages]

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """Return the payload that `send` would post."""
        return slack_message(content, outgoing)

    def find_person(self, email: str, timeout: float) -> str | None:
        """Return the id of the user with this email, None if there is none. Raises DeliveryError."""
        if isinstance(self._token, DeliveryError):
            raise redacted(self._token, self._redact)
        try:
            return find_user(self._http, self._api_url, self._headers, email, timeout)
        except DeliveryError as error:
            raise redacted(error, self._redact) from None

    def close(self) -> None:
        self._http.close()

    def _post(self, content: Content, outgoing: OutgoingMessage, deadline: Deadline) -> SendResult:
        if isinstance(self._token, DeliveryError):
            return redacted(self._token, self._redact)
        with rendering():
            payload = self.render(content, outgoing)
        result = parse_slack_reply(post_json(self._http, self._url, self._headers, payload, deadline))
        if isinstance(result, DeliveryError):
            return redacted(result, self._redact)
        return Receipt(self._redact(result.provider_id), self._redact(result.answer))


def parse_slack_reply(reply: Response) -> SendResult:
    """Return the result of a reply, not redacted yet. Success is HTTP 200 with `ok` true and a `ts`."""
    answer = reply.json
    if reply.status == 200 and not reply.truncated and answer.get("ok") is True:
        ts = answer.get("ts")
        if isinstance(ts, str) and one_line(ts):
            # Without our message, which the delivery log has already.
            answer.pop("message", None)
            return Receipt(ts, json.dumps(answer, ensure_ascii=False))
        return DeliveryError(Reason.AMBIGUOUS, "no_ts", detail=reply.text)
    code = clean_code(answer.get("error")) if answer.get("ok") is False else ""
    if reply.status == 429 or (code and _code_decides(reply, code)):
        return _refusal(reply, code)
    if reply.status != 200:
        return status_error(reply, entire_provider=False)
    code = "incomplete_reply" if reply.truncated else "bad_reply"
    return DeliveryError(Reason.AMBIGUOUS, code, detail=f"HTTP 200: {reply.text}")


def _code_decides(reply: Response, code: str) -> bool:
    """Return whether the code in the body decides. With 5xx it does only if Slack may have posted the message."""
    ambiguous = slack_reason(code) is Reason.AMBIGUOUS
    return not reply.truncated and (reply.status == 200 or 400 <= reply.status < 500 or ambiguous)


def _refusal(reply: Response, code: str) -> DeliveryError:
    reason = Reason.RATE_LIMITED if reply.status == 429 else slack_reason(code, reply.status)
    limited = reason is Reason.RATE_LIMITED
    return DeliveryError(
        reason,
        code or "ratelimited",
        detail=reply.text,
        retry_after=retry_after(reply.headers, reply.json, datetime.now(UTC)) if limited else None,
        entire_provider=limited and code in ENTIRE_PROVIDER,
    )
