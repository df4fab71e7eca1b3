"""SendGrid: the key's shape, and whether it may send."""

from __future__ import annotations

import re

from alertctl.channels.email.sendgrid import parse_sendgrid_reply
from alertctl.doctor.result import CheckResult, failure, fix_for, ok, unknown, warning
from alertctl.doctor.runner import CheckRun, json_body, request, usable_credential
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import DeliveryError
from alertctl.http.client import Response

SCOPE = "mail.send"
_NOT_THE_API = (404, 405, 410)
"""SendGrid answers these to no key."""
_KEY = re.compile(r"SG\.[\w-]+\.[\w-]+")
_TRY = "alertctl test email checks it with a real message."


def check_key(check_run: CheckRun) -> CheckResult:
    """Check that the key looks like an API key. It is never shown."""
    try:
        key = _key(check_run)
    except DeliveryError as error:
        return failure(error.detail, ERROR_CODES[error.code].fix)
    if _KEY.fullmatch(key):
        return ok("is set and looks like an API key (SG.….…)")
    return warning("does not look like an API key (SG.….…)", ERROR_CODES["unauthorized"].fix)


def check_scope(check_run: CheckRun) -> CheckResult:
    """Check the scopes by GET /v3/scopes. A refusal isn't a "no": a key that may only send mail may not read them."""
    try:
        key = _key(check_run)
    except DeliveryError:
        return unknown("not checked: the key is not usable")
    url = f"{check_run.settings.sendgrid.api_url.rstrip('/')}/v3/scopes"
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "alertctl"}
    try:
        reply = request(check_run, "GET", url, headers, b"", check_run.deadline())
    except DeliveryError as error:
        return failure(f"no answer from SendGrid: {error.code} ({error.detail})", fix_for(error, "sendgrid"))
    return _scope_result(reply) if reply.status == 200 else _refusal(reply)


def _scope_result(reply: Response) -> CheckResult:
    body = json_body(reply)
    scopes = body.get("scopes") if isinstance(body, dict) else None
    if not isinstance(scopes, list):
        return _wrong_url(reply)
    if SCOPE in scopes:
        return ok("granted")
    return failure(
        f"missing scope: the key lacks {SCOPE}", "Give the key Mail Send at app.sendgrid.com (Settings, API Keys)."
    )


def _refusal(reply: Response) -> CheckResult:
    error, body = parse_sendgrid_reply(reply), json_body(reply)
    detail = error.detail if isinstance(error, DeliveryError) else f"HTTP {reply.status}"
    has_sendgrids_form = isinstance(body, dict) and isinstance(body.get("errors"), list)
    if reply.status in _NOT_THE_API or (reply.status == 401 and not has_sendgrids_form):
        return _wrong_url(reply)
    if reply.status == 401:
        return failure(f"unauthorized: SendGrid rejected the key ({detail})", ERROR_CODES["unauthorized"].fix)
    if isinstance(error, DeliveryError) and 300 <= reply.status < 400:
        return failure(f"no answer from SendGrid ({detail})", fix_for(error, "sendgrid"))
    return unknown(f"SendGrid did not list the key's scopes ({detail})", _TRY)


def _wrong_url(reply: Response) -> CheckResult:
    what = f"the server at SENDGRID_API_URL does not answer like SendGrid's API (HTTP {reply.status})"
    return failure(
        what, "Set SENDGRID_API_URL to https://api.sendgrid.com or https://api.eu.sendgrid.com, without a path."
    )


def _key(check_run: CheckRun) -> str:
    return usable_credential(check_run.settings.sendgrid.api_key, "SENDGRID_API_KEY", missing="unauthorized")
