"""SendGrid: the key's shape, and whether it may send."""

from __future__ import annotations

import json
import re

from alertctl.channels.email.sendgrid import parse_sendgrid_reply
from alertctl.doctor.result import CheckResult, failure, fix_for, ok, unknown, warning
from alertctl.doctor.runner import CheckRun, request
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import DeliveryError
from alertctl.http.client import Response
from alertctl.text import credential

SCOPE = "mail.send"
_KEY = re.compile(r"SG\.[\w-]+\.[\w-]+")
_TRY = "alertctl test email checks it with a real message."


def check_key(check_run: CheckRun) -> CheckResult:
    """Check that the key looks like an API key. It is never shown."""
    key = _key(check_run)
    if isinstance(key, DeliveryError):
        return failure(key.detail, ERROR_CODES[key.code].fix)
    if _KEY.fullmatch(key):
        return ok("is set and looks like an API key (SG.….…)")
    return warning("does not look like an API key (SG.….…)", ERROR_CODES["unauthorized"].fix)


def check_scope(check_run: CheckRun) -> CheckResult:
    """Check the scopes by GET /v3/scopes. A refusal isn't a "no": a key that may only send mail may not read them."""
    key = _key(check_run)
    if isinstance(key, DeliveryError):
        return unknown("not checked: the key is not usable")
    settings = check_run.settings
    url = f"{settings.sendgrid.api_url.rstrip('/')}/v3/scopes"
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "alertctl"}
    try:
        reply = request(check_run, "GET", url, headers, b"", check_run.deadline())
    except DeliveryError as error:
        what = f"no answer from SendGrid: {error.code} ({error.detail})"
        return failure(what, fix_for(error, "sendgrid"))
    return _result_of(reply)


def _result_of(reply: Response) -> CheckResult:
    if reply.status == 200:
        return _scope_result(_scopes(reply))
    error = parse_sendgrid_reply(reply)
    detail = error.detail if isinstance(error, DeliveryError) else f"HTTP {reply.status}"
    if reply.status == 401:
        return failure(f"unauthorized: SendGrid rejected the key ({detail})", ERROR_CODES["unauthorized"].fix)
    if isinstance(error, DeliveryError) and 300 <= reply.status < 400:
        return failure(f"no answer from SendGrid ({detail})", fix_for(error, "sendgrid"))
    return unknown(f"SendGrid did not list the key's scopes ({detail})", _TRY)


def _scope_result(scopes: list[object] | None) -> CheckResult:
    if scopes is None:
        return unknown("SendGrid's answer contains no scopes", _TRY)
    if SCOPE in scopes:
        return ok("granted")
    return failure(
        f"missing scope: the key lacks {SCOPE}",
        "Give the key Mail Send at app.sendgrid.com (Settings, API Keys).",
    )


def _scopes(reply: Response) -> list[object] | None:
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    scopes = body.get("scopes") if isinstance(body, dict) and not reply.truncated else None
    return scopes if isinstance(scopes, list) else None


def _key(check_run: CheckRun) -> str | DeliveryError:
    secret = check_run.settings.sendgrid.api_key.get_secret_value()
    return credential(secret, "SENDGRID_API_KEY", missing="unauthorized")
