"""SendGrid: the key's shape, and whether it may send."""

from __future__ import annotations

import json
import re

from alertctl.channels.email.sendgrid import parse_sendgrid_reply
from alertctl.doctor.carrier import ask
from alertctl.doctor.result import CheckResult, failure, fix_for, ok, unknown, warning
from alertctl.doctor.runner import CheckRun
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import DeliveryError
from alertctl.http.client import Response
from alertctl.text import credential

SCOPE = "mail.send"
_KEY = re.compile(r"SG\.[\w-]+\.[\w-]+")
_TRY = "alertctl test email tries it with a real message."


def key(check_run: CheckRun) -> CheckResult:
    """Shaped like an API key. Its text is never shown."""
    found = _key(check_run)
    if isinstance(found, DeliveryError):
        return failure(found.detail, ERROR_CODES[found.code].fix)
    if _KEY.fullmatch(found):
        return ok("is set and looks like an API key (SG.….…)")
    return warning("doesn't look like an API key (SG.….…)", ERROR_CODES["unauthorized"].fix)


def may_send(check_run: CheckRun) -> CheckResult:
    """GET /v3/scopes. Not being told isn't a "no": a key that may only send mail may not be allowed to ask."""
    found = _key(check_run)
    if isinstance(found, DeliveryError):
        return unknown("the key has to be usable first")
    settings = check_run.settings
    url = f"{settings.sendgrid.api_url.rstrip('/')}/v3/scopes"
    headers = {"Authorization": f"Bearer {found}", "User-Agent": "alertctl"}
    try:
        reply = ask(check_run, "GET", url, headers, b"", check_run.deadline())
    except DeliveryError as error:
        what = f"no answer from SendGrid: {error.code} ({error.detail})"
        return failure(what, fix_for(error, "sendgrid"))
    return _judged(reply)


def _judged(reply: Response) -> CheckResult:
    if reply.status == 200:
        return _granted(_scopes(reply))
    error = parse_sendgrid_reply(reply)
    detail = error.detail if isinstance(error, DeliveryError) else f"HTTP {reply.status}"
    if reply.status == 401:
        return failure(f"unauthorized: SendGrid refuses the key ({detail})", ERROR_CODES["unauthorized"].fix)
    if isinstance(error, DeliveryError) and 300 <= reply.status < 400:
        return failure(f"no answer from SendGrid ({detail})", fix_for(error, "sendgrid"))
    return unknown(f"SendGrid doesn't tell what the key may do ({detail})", _TRY)


def _granted(scopes: list[object] | None) -> CheckResult:
    if scopes is None:
        return unknown("SendGrid's answer has no scopes in it", _TRY)
    if SCOPE in scopes:
        return ok("granted")
    return failure(
        f"missing scope: the key lacks {SCOPE}",
        "Give the key Mail Send at app.sendgrid.com (Settings, API Keys).",
    )


def _scopes(reply: Response) -> list[object] | None:
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    scopes = said.get("scopes") if isinstance(said, dict) and not reply.truncated else None
    return scopes if isinstance(scopes, list) else None


def _key(check_run: CheckRun) -> str | DeliveryError:
    secret = check_run.settings.sendgrid.api_key.get_secret_value()
    return credential(secret, "SENDGRID_API_KEY", missing="unauthorized")
