"""The server that ALERTCTL_SERVER names: reachable, ready, our token, its version and its queue. Only GET requests."""

from __future__ import annotations

from typing import Any

from alertctl import __version__
from alertctl.config.urls import ROUTES, server_root
from alertctl.doctor.database import breaker_result, pause_result, queue_result
from alertctl.doctor.result import CheckEnded, CheckResult, failure, ok, unknown, warning
from alertctl.doctor.runner import CheckRun, json_body, request
from alertctl.errors import DeliveryError
from alertctl.http.client import Response
from alertctl.schemas import StatusReport, from_json

_REACH_IT = (
    "Start alertctl serve there, or correct ALERTCTL_SERVER, this machine's network, "
    "its proxy (HTTP_PROXY, HTTPS_PROXY) or ALERTCTL_CA_BUNDLE."
)
_CORRECT_IT = "Set ALERTCTL_SERVER to the address of an alertctl serve, and check the proxies before it."
_CHECK_PROXIES = "Check the proxies before the server (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)."
_ON_SERVER = "Run alertctl doctor on the server's machine, and see the server's log."
_NEW_TOKEN = "Set ALERTCTL_TOKEN to a token that an admin of that server created (alertctl token create)."
_NOT_REACHABLE = unknown("not checked: the server is not reachable")


def check_reachable(check_run: CheckRun) -> CheckResult:
    """Check the server's readiness, which needs no token."""
    root = server_root(check_run.settings.alertctl.server)
    try:
        reply = check_run.cached(_readiness)
    except DeliveryError as error:
        return failure(f"no answer from {root}: {error.code} ({error.detail})", _REACH_IT)
    if reply.status == 200 and _fields(reply).get("status") == "ready":
        return ok(root)
    if reply.status == 503 and "detail" in _fields(reply):
        return failure(f"{root} is not ready: {_fields(reply)['detail']}", _ON_SERVER)
    return failure(f"{root} answers HTTP {reply.status}, but not as alertctl serve does", _CORRECT_IT)


def check_token(check_run: CheckRun) -> CheckResult:
    if not check_run.settings.alertctl.token.get_secret_value():
        return failure("ALERTCTL_TOKEN is not set", _NEW_TOKEN)
    reply = _answer(check_run, "/me")
    fields = _fields(reply)
    if reply.status == 200 and "role" in fields:
        return ok(f"{fields.get('email') or fields.get('id')}, {fields['role']}")
    if reply.status == 403 and "scope publish" in str(fields.get("detail")):
        return ok("accepted; it may publish events only")
    if reply.status in (401, 403):
        return failure(f"the server rejected the token: {fields['detail']}", _NEW_TOKEN)
    return unknown(f"the server answered HTTP {reply.status}", _ON_SERVER)


def check_version(check_run: CheckRun) -> CheckResult:
    version = check_run.cached(_status).version
    if version == __version__:
        return ok(version)
    return warning(f"the server is alertctl {version}, this command is {__version__}", "Upgrade the older one.")


def check_oldest_due(check_run: CheckRun) -> CheckResult:
    status = check_run.cached(_status)
    return queue_result(sum(status.depth.values()), status.oldest_due_seconds)


def check_paused_providers(check_run: CheckRun) -> CheckResult:
    paused = check_run.cached(_status).paused
    return breaker_result(paused, check_run.now) or pause_result(paused, check_run.now) or ok("none")


def _readiness(check_run: CheckRun) -> Response:
    url = f"{server_root(check_run.settings.alertctl.server)}/readyz"
    return request(check_run, "GET", url, {"Accept": "application/json"}, b"", check_run.deadline())


def _status(check_run: CheckRun) -> StatusReport:
    """Return the server's own report. Raises CheckEnded if there is none."""
    reply = _answer(check_run, "/status")
    if reply.status == 403:
        raise CheckEnded(unknown("not checked: this requires a token with the role developer or higher", _NEW_TOKEN))
    try:
        return from_json(StatusReport, json_body(reply))
    except ValueError:
        raise CheckEnded(unknown(f"not checked: the server answered HTTP {reply.status}")) from None


def _answer(check_run: CheckRun, path: str) -> Response:
    """Return the server's answer to our token. Raises CheckEnded without one, or if it can't be reached."""
    settings = check_run.settings.alertctl
    token = settings.token.get_secret_value()
    if not token:
        raise CheckEnded(unknown("not checked: ALERTCTL_TOKEN is not set", _NEW_TOKEN))
    headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
    try:
        check_run.cached(_readiness)
        url = f"{server_root(settings.server)}{ROUTES}{path}"
        reply = request(check_run, "GET", url, headers, b"", check_run.deadline())
    except DeliveryError:
        raise CheckEnded(_NOT_REACHABLE) from None
    if reply.status in (401, 403) and "detail" not in _fields(reply):
        what = f"not checked: an HTTP {reply.status} that is not from alertctl serve"
        raise CheckEnded(unknown(what, _CHECK_PROXIES))
    return reply


def _fields(reply: Response) -> dict[str, Any]:
    body = json_body(reply)
    return body if isinstance(body, dict) else {}
