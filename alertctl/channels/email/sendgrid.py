"""SendGrid: payloads built by its own helpers, carried by our transport, up to 1000 deliveries a request."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sendgrid.helpers.mail import (
    ClickTracking,
    From,
    Mail,
    OpenTracking,
    TrackingSettings,
)

from alertctl.addresses import encode_email, is_email
from alertctl.channels.base import OutgoingMessage, Receipt, SendResult
from alertctl.channels.email.message import Sender, display_name, headers, load_templates, message_id, render_email
from alertctl.channels.http_errors import no_reply_error, status_error
from alertctl.content import Content
from alertctl.deadline import Deadline
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.errors import HttpError
from alertctl.http.proxies import proxy_passwords
from alertctl.text import Redactor, credential, one_line, redacted

BATCH = 1000
"""Personalizations that SendGrid takes in one request."""
ROUNDS = 5
"""Requests in one call of `send`: SendGrid names all bad addresses at once, so the second usually passes."""

_NAMED = re.compile(r"personalizations[.\[](\d{1,4})\b(.*)")


class SendGridChannel:
    """Sends by `/v3/mail/send`. A refused batch was refused whole, so the good part of it may go again at once."""

    name = "email"
    provider = "sendgrid"
    batch_size = BATCH

    def __init__(self, api_key: str, api_url: str, from_address: str, from_name: str, http: HttpClient) -> None:
        load_templates()
        self.deadline = http.timeout
        self._http = http
        self._key = credential(api_key, "SENDGRID_API_KEY", missing="unauthorized")
        self._redact = Redactor([api_key, api_key.strip(), *proxy_passwords()])
        self._url = f"{api_url.rstrip('/')}/v3/mail/send"
        self._sender = Sender(from_address, from_name)

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        if isinstance(self._key, DeliveryError):
            return [redacted(self._key, self._redact) for _ in messages]
        deadline = Deadline(self.deadline)
        verdicts: dict[int, SendResult] = {}
        for plain in (False, True):
            alike = [place for place, outgoing in enumerate(messages) if outgoing.plain is plain]
            for start in range(0, len(alike), BATCH):
                self._send_batch(content, messages, alike[start : start + BATCH], verdicts, deadline)
        return [verdicts[place] for place in range(len(messages))]

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """Headers, text and HTML of the email that `send` would have SendGrid make."""
        said = render_email(content, outgoing.plain)
        shown = headers(content, outgoing.delivery_id, outgoing.address, self._sender, datetime.now(UTC))
        return {"headers": shown, "text": said.text, "html": said.html}

    def payload(self, content: Content, messages: Sequence[OutgoingMessage]) -> dict[str, Any]:
        """The body of one request. The parcels are alike in `plain` and their addresses are valid."""
        said = render_email(content, messages[0].plain)
        mail = Mail(
            From(encode_email(self._sender.address), display_name(self._sender.name) or None),
            subject=said.subject,
            plain_text_content=said.text,
            html_content=said.html or None,
        )
        mail.tracking_settings = _untracked()
        # The library's objects for each recipient would cost four times as much as all else.
        built: dict[str, Any] = mail.get()
        return {"personalizations": [self._personalization(outgoing) for outgoing in messages], **built}

    def close(self) -> None:
        self._http.close()

    def _personalization(self, outgoing: OutgoingMessage) -> dict[str, Any]:
        return {
            "to": [{"email": encode_email(outgoing.address)}],
            "headers": {
                "Message-ID": message_id(outgoing.delivery_id, self._sender),
                "Auto-Submitted": "auto-generated",
            },
            "custom_args": {"delivery_id": outgoing.delivery_id},
        }

    def _send_batch(
        self,
        content: Content,
        messages: Sequence[OutgoingMessage],
        waiting: list[int],
        verdicts: dict[int, SendResult],
        deadline: Deadline,
    ) -> None:
        """Fill in a verdict for each place in `waiting`; what SendGrid names as bad is left out of the next round."""
        for place in waiting:
            if not is_email(messages[place].address):
                verdicts[place] = DeliveryError(Reason.BAD_ADDRESS, "invalid_address", detail="not one email address")
        for _ in range(ROUNDS):
            waiting = [place for place in waiting if place not in verdicts]
            if not waiting:
                return
            answer = self._attempt(content, [messages[place] for place in waiting], deadline)
            if not isinstance(answer, dict):
                verdicts.update(dict.fromkeys(waiting, answer))
                return
            verdicts.update({waiting[position]: error for position, error in answer.items()})
        left = DeliveryError(Reason.UNAVAILABLE, "batch_refused", detail="others in the same request were refused")
        verdicts.update({place: left for place in waiting if place not in verdicts})

    def _attempt(
        self, content: Content, messages: Sequence[OutgoingMessage], deadline: Deadline
    ) -> SendResult | dict[int, DeliveryError]:
        """One request: a verdict for all, or errors for those at fault (by position) while the rest may go again."""
        try:
            body = json.dumps(self.payload(content, messages)).encode()
        except Exception as exc:
            return DeliveryError(Reason.REJECTED, "unrenderable", detail=self._redact(repr(exc)))
        try:
            reply = self._http.request("POST", self._url, self._headers(), body, timeout=deadline.remaining())
        except HttpError as error:
            return redacted(no_reply_error(error), self._redact)
        except Exception as exc:
            return DeliveryError(Reason.AMBIGUOUS, "unexpected", detail=self._redact(repr(exc)))
        return self._judged(reply, len(messages))

    def _judged(self, reply: Response, count: int) -> SendResult | dict[int, DeliveryError]:
        named = named_errors(reply, count)
        if named:
            return {position: redacted(error, self._redact) for position, error in named.items()}
        result = parse_sendgrid_reply(reply)
        if isinstance(result, DeliveryError):
            return redacted(result, self._redact)
        return Receipt(self._redact(result.provider_id), self._redact(result.answer))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "User-Agent": "alertctl"}


def parse_sendgrid_reply(reply: Response) -> SendResult:
    """Success is 202 with an X-Message-Id, nothing less (200 means sandbox mode: checked, not sent)."""
    if reply.status == 202:
        found = one_line(reply.headers.get("x-message-id", ""))
        if found:
            return Receipt(found, f"HTTP 202, X-Message-Id: {found}")
        return DeliveryError(Reason.AMBIGUOUS, "no_message_id", detail=f"HTTP 202: {reply.text}")
    said = "; ".join(f"{error.get('message')} ({error.get('field') or 'request'})" for error in _errors(reply))
    return status_error(reply, detail=f"HTTP {reply.status}: {said}" if said and reply.status >= 400 else "")


def named_errors(reply: Response, count: int) -> dict[int, DeliveryError]:
    """What a 400 says of single personalizations, by position; empty if it also has something to say about the rest."""
    found: dict[int, DeliveryError] = {}
    for error in _errors(reply) if reply.status == 400 else []:
        place = _NAMED.match(str(error.get("field") or ""))
        if place is None or int(place[1]) >= count:
            return {}
        address = place[2].startswith((".to", "[to", "].to")) or "email" in place[2]
        reason, code = (Reason.BAD_ADDRESS, "invalid_address") if address else (Reason.REJECTED, "http_400")
        found[int(place[1])] = DeliveryError(reason, code, detail=f"{error.get('message')} ({error.get('field')})")
    return found


def _errors(reply: Response) -> list[dict[str, Any]]:
    """SendGrid's own list of errors; empty when the body is anything else."""
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError):
        return []
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _untracked() -> Any:
    settings = TrackingSettings()
    settings.click_tracking = ClickTracking(enable=False, enable_text=False)
    settings.open_tracking = OpenTracking(enable=False)
    return settings
