"""Email through SendGrid: up to 1000 deliveries in a request, built by its library, sent by our HTTP client."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sendgrid.helpers.mail import ClickTracking, From, Mail, OpenTracking, TrackingSettings

from alertctl.addresses import encode_email, is_email
from alertctl.channels.base import OutgoingMessage, Receipt, SendResult, rendering, result_of, with_note
from alertctl.channels.email.message import (
    AUTOMATIC,
    Sender,
    display_name,
    load_templates,
    message_id,
    preview,
    reason_of,
    render_email,
    thread_headers,
)
from alertctl.channels.http_errors import post, status_error
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.proxies import proxy_passwords
from alertctl.text import Redactor, credential, one_line, redacted

BATCH_SIZE = 1000
"""Personalizations that SendGrid accepts in a request."""
MAX_NAMED = 5
"""Refusals of a batch that name recipients. SendGrid names all bad addresses at once, so one is usual."""
MAX_REQUESTS = 64
"""Requests for a batch. One bad message among a thousand is found with 21; the rest is retried later."""
_DIVISIBLE = (400, 413, 422)
"""Statuses of a refusal that may be about a single message, also those of a proxy that checks requests."""

CODES = {401: "unauthorized", 403: "forbidden"}
"""The codes of SendGrid's refusals; that of any other status is `http_<status>`."""

_PERSONALIZATION = re.compile(r"personalizations[.\[](\d{1,4})\b(.*)")


class SendGridChannel:
    """Sends with `/v3/mail/send`. SendGrid rejects a batch as a whole, so its valid part is sent again at once."""

    name = "email"
    provider = "sendgrid"
    batch_size = BATCH_SIZE

    def __init__(self, api_key: str, api_url: str, sender: Sender, http: HttpClient) -> None:
        load_templates(sender.branding.templates)
        self.deadline = http.timeout
        self._http = http
        self._key = credential(api_key, "SENDGRID_API_KEY", missing="unauthorized")
        self._redact = Redactor([api_key, api_key.strip(), *proxy_passwords()])
        self._url = f"{api_url.rstrip('/')}/v3/mail/send"
        self._sender = sender

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        if isinstance(self._key, DeliveryError):
            return [redacted(self._key, self._redact) for _ in messages]
        results: dict[int, SendResult] = {}
        for plain in (False, True):
            indexes = [index for index, outgoing in enumerate(messages) if outgoing.plain is plain]
            for start in range(0, len(indexes), BATCH_SIZE):
                self._send_batch(content, messages, indexes[start : start + BATCH_SIZE], results)
        return [results[index] for index in range(len(messages))]

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        return preview(content, outgoing, self._sender)

    def payload(self, content: Content, messages: Sequence[OutgoingMessage]) -> dict[str, Any]:
        """Return the body of a request. The messages have the same `plain`, and their addresses are valid."""
        slot = reason_slot(content)
        email = render_email(content, slot, messages[0].plain, self._sender.branding)
        mail = Mail(
            From(encode_email(self._sender.address), display_name(self._sender.name) or None),
            subject=email.subject,
            plain_text_content=email.text,
            html_content=email.html or None,
        )
        mail.tracking_settings = tracking = TrackingSettings()
        tracking.click_tracking = ClickTracking(enable=False, enable_text=False)
        tracking.open_tracking = OpenTracking(enable=False)
        # The library's objects for each recipient would take four times as long as everything else.
        built: dict[str, Any] = mail.get()
        return {"personalizations": [self._personalization(content, outgoing, slot) for outgoing in messages], **built}

    def close(self) -> None:
        self._http.close()

    def _personalization(self, content: Content, outgoing: OutgoingMessage, slot: str) -> dict[str, Any]:
        return {
            "to": [{"email": encode_email(outgoing.address)}],
            "headers": {
                "Message-ID": message_id(outgoing.delivery_id, self._sender),
                **thread_headers(content, outgoing, self._sender),
                **AUTOMATIC,
            },
            "substitutions": {slot: reason_of(content, outgoing)},
            "custom_args": {"delivery_id": outgoing.delivery_id},
        }

    def _send_batch(
        self,
        content: Content,
        messages: Sequence[OutgoingMessage],
        pending: list[int],
        results: dict[int, SendResult],
    ) -> None:
        """Add a result for each index in `pending`.

        Messages that a refusal names are not sent again. A refused batch that names none is divided until the message
        at fault is alone. Each request has a deadline of its own; the lease is renewed meanwhile.
        """
        for index in pending:
            if not is_email(messages[index].address):
                results[index] = DeliveryError(
                    Reason.BAD_ADDRESS, "invalid_address", detail="not a single email address"
                )
        parts = [pending]
        named = 0
        requests = 0
        rest: SendResult = DeliveryError(Reason.UNAVAILABLE, "batch_refused", detail="others with it were refused")
        while parts and requests < MAX_REQUESTS and named < MAX_NAMED:
            part = [index for index in parts.pop() if index not in results]
            if not part:
                continue
            requests += 1
            answer = result_of(partial(self._attempt, content, [messages[index] for index in part]), self._redact)
            if isinstance(answer, dict):
                named += bool(answer)
                results.update({part[position]: error for position, error in answer.items()})
                middle = len(part) // 2
                parts += [part] if answer else [part[middle:], part[:middle]]
                continue
            results.update({index: self._with_id(answer, messages[index]) for index in part})
            if isinstance(answer, DeliveryError) and answer.reason is not Reason.REJECTED:
                rest = answer
                break
        results.update({index: rest for index in pending if index not in results})

    def _with_id(self, result: SendResult, outgoing: OutgoingMessage) -> SendResult:
        """Return the result with our Message-ID if SendGrid returned no id: its documentation promises none."""
        if isinstance(result, DeliveryError) or result.provider_id:
            return result
        return replace(result, provider_id=message_id(outgoing.delivery_id, self._sender))

    def _attempt(self, content: Content, messages: Sequence[OutgoingMessage]) -> SendResult | dict[int, DeliveryError]:
        """Send one request. Return the receipt of all messages, or the errors of single ones by position.

        An empty mapping means a refusal that may be about any of them.
        """
        with rendering():
            payload = self.payload(content, messages)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "User-Agent": "alertctl"}
        reply = post(self._http, self._url, headers, json.dumps(payload).encode(), self.deadline)
        named = errors_by_position(reply, len(messages))
        if named or (len(messages) > 1 and may_be_about_single(reply)):
            return {position: redacted(error, self._redact) for position, error in named.items()}
        result = parse_sendgrid_reply(reply)
        if isinstance(result, DeliveryError):
            return redacted(result, self._redact)
        email = render_email(content, reason_slot(content), messages[0].plain, self._sender.branding)
        return with_note(Receipt(self._redact(result.provider_id), self._redact(result.answer)), *email.notes)


def reason_slot(content: Content) -> str:
    """Return the tag that SendGrid replaces by each recipient's reason. No text of the event contains it."""
    event = "\0".join((content.event_id, content.title, content.summary))
    return f"-reason-{hashlib.sha256(event.encode('utf-8', 'replace')).hexdigest()[:16]}-"


def parse_sendgrid_reply(reply: Response) -> SendResult:
    """Return the result of a reply, not redacted yet.

    Success is 202. Only SendGrid's sandbox mode, which alertctl does not use, answers 200.
    """
    if reply.status == 202:
        provider_id = one_line(reply.headers.get("x-message-id", ""))
        return Receipt(provider_id, f"HTTP 202, X-Message-Id: {provider_id}" if provider_id else "HTTP 202")
    text = "; ".join(f"{error.get('message')} ({error.get('field') or 'request'})" for error in _parse_errors(reply))
    code = "bad_reply" if reply.status == 200 else CODES.get(reply.status, "")
    detail = f"HTTP {reply.status}: {text}" if text and reply.status >= 400 else ""
    return status_error(reply, code=code, detail=detail)


def errors_by_position(reply: Response, count: int) -> dict[int, DeliveryError]:
    """Return a 400's errors about single personalizations, by position. Empty if an error is about anything else."""
    errors: dict[int, DeliveryError] = {}
    for error in _parse_errors(reply) if reply.status == 400 else []:
        match = _PERSONALIZATION.match(str(error.get("field") or ""))
        if match is None or int(match[1]) >= count:
            return {}
        is_address = match[2].startswith((".to", "[to", "].to")) or "email" in match[2]
        reason, code = (Reason.BAD_ADDRESS, "invalid_address") if is_address else (Reason.REJECTED, "http_400")
        errors[int(match[1])] = DeliveryError(reason, code, detail=f"{error.get('message')} ({error.get('field')})")
    return errors


def may_be_about_single(reply: Response) -> bool:
    """Return whether a refusal may be about a single message. An error in `from`, `subject` or `content` is not."""
    fields = [str(error.get("field") or "") for error in _parse_errors(reply)]
    return reply.status in _DIVISIBLE and all(not field or field.startswith("personalizations") for field in fields)


def _parse_errors(reply: Response) -> list[dict[str, Any]]:
    """Return SendGrid's list of errors, empty if the body is anything else."""
    errors = reply.json.get("errors")
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
