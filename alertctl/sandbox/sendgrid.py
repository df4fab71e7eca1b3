"""A local SendGrid: v3 Mail Send with the checks and the words of the real one."""

from __future__ import annotations

import json
import secrets
from typing import Any

from alertctl.sandbox.http import Answer, Request, json_answer
from alertctl.sandbox.http_provider import HttpProvider
from alertctl.sandbox.recorder import SendGridMessage, now
from alertctl.sandbox.sendgrid_validation import Problem, in_sandbox_mode, problems_of, recipients

API_KEY = "SG.sandbox.key"  # shaped so that a client takes it and a secret scanner doesn't
MAX_BODY = 30 * 1024 * 1024
SEND = "/v3/mail/send"
SCOPES = "/v3/scopes"
BAD_KEY = "The provided authorization grant is invalid, expired, or revoked"


class Refused(Exception):
    """An answer that is not a success; `problems` become its `errors`."""

    def __init__(self, status: int, *problems: Problem) -> None:
        super().__init__(status)
        self.status = status
        self.problems = problems


class SendGrid(HttpProvider[SendGridMessage]):
    """`api_key` is the only good key, `scopes` what it may do; `auth_error` is the message of a 401."""

    name = "sendgrid"
    built_in = {"flaky@": "http_503"}  # noqa: RUF012  (a ClassVar in the base class)

    api_key = API_KEY
    scopes: tuple[str, ...] = ("mail.send", "sender_verification_eligible", "2fa_required")

    @property
    def requests(self) -> int:
        """How many requests to Mail Send came, refused ones included."""
        return sum(call.path == SEND for call in self.calls)

    def addresses(self, request: Request) -> list[str]:
        if request.path != SEND:
            return []
        try:
            return recipients(json.loads(request.body))
        except (ValueError, RecursionError):
            return []

    def respond(self, request: Request) -> Answer:
        try:
            self._authenticate(request)
            return self._route(request)
        except Refused as refused:
            return errors(refused.status, *refused.problems)

    def refusal(self, status: int) -> Answer:
        words = {401: BAD_KEY, 403: "access forbidden", 429: "too many requests"}
        return errors(status, Problem(words.get(status, f"HTTP status {status}")))

    def _authenticate(self, request: Request) -> None:
        if self.auth_error:
            raise Refused(401, Problem(self.auth_error))
        if not request.bearer:
            raise Refused(401, Problem("Permission denied, wrong credentials"))
        if request.bearer != self.api_key:
            raise Refused(401, Problem(BAD_KEY))

    def _route(self, request: Request) -> Answer:
        if request.path == SCOPES and request.method == "GET":
            return json_answer(200, {"scopes": list(self.scopes)})
        if request.path not in (SEND, SCOPES):
            raise Refused(404, Problem("Not Found"))
        if (request.path, request.method) != (SEND, "POST"):
            raise Refused(405, Problem("method not allowed"))
        return self._send(request)

    def _send(self, request: Request) -> Answer:
        if "mail.send" not in self.scopes:
            raise Refused(403, Problem("access forbidden"))
        payload = payload_of(request)
        if problems := problems_of(payload):
            raise Refused(400, *problems)
        if in_sandbox_mode(payload):
            return Answer(200)
        message_id = secrets.token_urlsafe(16)
        at = now()
        self.recorder.accepted(
            *(
                SendGridMessage(addressed_to(person), person, payload, message_id, request.headers, at)
                for person in payload["personalizations"]
            )
        )
        return Answer(202, b"", {"X-Message-Id": message_id})


def payload_of(request: Request) -> dict[str, Any]:
    if len(request.body) > MAX_BODY:
        raise Refused(413, Problem("The JSON payload you have included in your request is too large."))
    if request.media_type != "application/json":
        raise Refused(415, Problem("Content-Type should be application/json."))
    try:
        payload = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refused(400, Problem("Bad Request")) from None
    if not isinstance(payload, dict):
        raise Refused(400, Problem("Bad Request"))
    return payload


def addressed_to(personalization: dict[str, Any]) -> str:
    return ", ".join(person["email"] for person in personalization["to"])


def errors(status: int, *problems: Problem) -> Answer:
    listed = [{"message": p.message, "field": p.field, "help": p.help} for p in problems]
    return json_answer(status, {"errors": listed})
