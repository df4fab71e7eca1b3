"""The Slack channel: chat.postMessage and chat.update over our HTTP client, with a strict check of the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from alertctl import __version__
from alertctl.channels.base import OutgoingMessage, Receipt, SendResult, ThreadRoot, rendering, result_of
from alertctl.channels.http_errors import post, status_error
from alertctl.channels.slack.blocks import slack_message
from alertctl.channels.slack.directory import find_user
from alertctl.channels.slack.errors import clean_code, refusal, slack_reason
from alertctl.channels.slack.threads import reply_arguments, root_update
from alertctl.content import Content
from alertctl.deadline import Deadline
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.proxies import proxy_passwords
from alertctl.text import Redactor, credential, one_line, redacted

_ABOUT_THREAD = (Reason.BAD_ADDRESS, Reason.REJECTED)
"""Reasons for which a reply is posted once more outside of its thread."""
LONGEST_CHANNEL_ID = 80


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
        self._headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"alertctl/{__version__}",
            "Authorization": f"Bearer {self._token}",
        }

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        deadline = Deadline(self.deadline)
        return [result_of(partial(self._post, content, outgoing, deadline), self._redact) for outgoing in messages]

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        message = slack_message(content, outgoing)
        if outgoing.reply_to is None:
            return message
        return message | reply_arguments(outgoing.reply_to, broadcast=outgoing.broadcast)

    def update_root(self, root: ThreadRoot, contents: Sequence[Content], earlier: int) -> SendResult:
        def update() -> SendResult:
            with rendering():
                payload = root_update(root, contents, earlier)
            return self._call("chat.update", payload, Deadline(self.deadline))

        return result_of(update, self._redact)

    def find_person(self, email: str, timeout: float) -> str | None:
        if isinstance(self._token, DeliveryError):
            raise redacted(self._token, self._redact)
        try:
            return find_user(self._http, self._api_url, self._headers, email, timeout)
        except DeliveryError as error:
            raise redacted(error, self._redact) from None

    def close(self) -> None:
        self._http.close()

    def _post(self, content: Content, outgoing: OutgoingMessage, deadline: Deadline) -> SendResult:
        with rendering():
            payload = self.render(content, outgoing)
        result = self._call("chat.postMessage", payload, deadline)
        if outgoing.reply_to is None or not isinstance(result, DeliveryError) or result.reason not in _ABOUT_THREAD:
            return result
        # The thread is locked, or its channel was replaced by another one of that name. The alert must arrive anyway.
        refusal, result = result, self._post(content, replace(outgoing, reply_to=None, broadcast=False), deadline)
        note = f"not posted in the thread of its subject, which Slack refused ({refusal.code})"
        return replace(result, in_thread=False, note=note) if isinstance(result, Receipt) else result

    def _call(self, method: str, payload: Mapping[str, Any], deadline: Deadline) -> SendResult:
        if isinstance(self._token, DeliveryError):
            return redacted(self._token, self._redact)
        url, body = f"{self._api_url}/{method}", json.dumps(payload).encode()
        result = parse_slack_reply(post(self._http, url, self._headers, body, deadline.remaining()))
        if isinstance(result, DeliveryError):
            return redacted(result, self._redact)
        return replace(result, provider_id=self._redact(result.provider_id), answer=self._redact(result.answer))


def parse_slack_reply(reply: Response) -> SendResult:
    """Return the result of a reply, not redacted yet. Success is HTTP 200 with `ok` true and a `ts`."""
    answer = reply.json
    if reply.status == 200 and not reply.truncated and answer.get("ok") is True:
        ts = answer.get("ts")
        if isinstance(ts, str) and one_line(ts):
            # Without our message, which the delivery log has already.
            message, channel = answer.pop("message", None), answer.get("channel")
            return Receipt(
                ts,
                json.dumps(answer, ensure_ascii=False),
                provider_channel=channel if isinstance(channel, str) and len(channel) <= LONGEST_CHANNEL_ID else None,
                # Slack posts a reply to a deleted message at top level.
                in_thread=isinstance(message, dict) and bool(message.get("thread_ts")),
            )
        return DeliveryError(Reason.AMBIGUOUS, "no_ts", detail=reply.text)
    code = clean_code(answer.get("error")) if answer.get("ok") is False else ""
    if reply.status == 429 or (code and _code_decides(reply, code)):
        return refusal(reply, code or "ratelimited")
    if reply.status != 200:
        return status_error(reply, entire_provider=False)
    code = "incomplete_reply" if reply.truncated else "bad_reply"
    return DeliveryError(Reason.AMBIGUOUS, code, detail=f"HTTP 200: {reply.text}")


def _code_decides(reply: Response, code: str) -> bool:
    """Return whether the code in the body decides. With 5xx it does only if Slack may have posted the message."""
    ambiguous = slack_reason(code) is Reason.AMBIGUOUS
    return not reply.truncated and (reply.status == 200 or 400 <= reply.status < 500 or ambiguous)
