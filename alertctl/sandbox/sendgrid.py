"""A local SendGrid: v3 Mail Send with SendGrid's own checks and messages."""

from __future__ import annotations

import secrets
from typing import Any

from alertctl.sandbox.http import HttpCall, HttpResponse, json_response, parse_json
from alertctl.sandbox.http_provider import HttpProvider
from alertctl.sandbox.records import SendGridMessage, now
from alertctl.sandbox.sendgrid_validation import FieldError, field_errors, is_sandbox_mode, recipients

MAX_BODY = 30 * 1024 * 1024
SEND = "/v3/mail/send"
SCOPES = "/v3/scopes"
BAD_KEY = "The provided authorization grant is invalid, expired, or revoked"


class SendGridError(Exception):
    """A response that is not a success, with its `errors`."""

    def __init__(self, status: int, *errors: FieldError) -> None:
        super().__init__(status)
        self.status = status
        self.errors = errors


class SendGridSandbox(HttpProvider[SendGridMessage]):
    """`api_key` is the only valid key, `scopes` are its scopes, `auth_error` is the message of a 401."""

    name = "sendgrid"
    built_in = {"flaky@": "http_503"}  # noqa: RUF012  (a ClassVar in the base class)

    api_key = "SG.sandbox.key"  # accepted by clients, ignored by secret scanners
    scopes: tuple[str, ...] = ("mail.send", "sender_verification_eligible", "2fa_required")

    @property
    def requests(self) -> int:
        """The number of requests to Mail Send, refused ones included."""
        return sum(call.path == SEND for call in self.calls)

    def addresses(self, request: HttpCall) -> list[str]:
        try:
            return recipients(parse_json(request.body)) if request.path == SEND else []
        except ValueError:
            return []

    def respond(self, request: HttpCall) -> HttpResponse:
        try:
            self._authenticate(request)
            return self._route(request)
        except SendGridError as refused:
            return error_response(refused.status, *refused.errors)

    def refusal(self, status: int) -> HttpResponse:
        messages = {401: BAD_KEY, 403: "access forbidden", 429: "too many requests"}
        return error_response(status, FieldError(messages.get(status, f"HTTP status {status}")))

    def _authenticate(self, request: HttpCall) -> None:
        if self.auth_error:
            raise SendGridError(401, FieldError(self.auth_error))
        if not request.bearer:
            raise SendGridError(401, FieldError("Permission denied, wrong credentials"))
        if request.bearer != self.api_key:
            raise SendGridError(401, FieldError(BAD_KEY))

    def _route(self, request: HttpCall) -> HttpResponse:
        if request.path == SCOPES and request.method == "GET":
            return json_response(200, {"scopes": list(self.scopes)})
        if request.path not in (SEND, SCOPES):
            raise SendGridError(404, FieldError("Not Found"))
        if (request.path, request.method) != (SEND, "POST"):
            raise SendGridError(405, FieldError("method not allowed"))
        return self._send(request)

    def _send(self, request: HttpCall) -> HttpResponse:
        if "mail.send" not in self.scopes:
            raise SendGridError(403, FieldError("access forbidden"))
        payload = parse_payload(request)
        if errors := field_errors(payload):
            raise SendGridError(400, *errors)
        if is_sandbox_mode(payload):
            return HttpResponse(200)
        message_id, at = secrets.token_urlsafe(16), now()
        messages = []
        for item in payload["personalizations"]:
            to = ", ".join(person["email"] for person in item["to"])
            messages.append(SendGridMessage(to, item, payload, message_id, request.headers, at))
        self.add_messages(*messages)
        return HttpResponse(202, b"", {"X-Message-Id": message_id})


def parse_payload(request: HttpCall) -> dict[str, Any]:
    if len(request.body) > MAX_BODY:
        raise SendGridError(413, FieldError("The JSON payload you have included in your request is too large."))
    if request.media_type != "application/json":
        raise SendGridError(415, FieldError("Content-Type should be application/json."))
    try:
        payload = parse_json(request.body)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise SendGridError(400, FieldError("Bad Request"))
    return payload


def error_response(status: int, *errors: FieldError) -> HttpResponse:
    items = [{"message": error.message, "field": error.field, "help": error.help} for error in errors]
    return json_response(status, {"errors": items})
