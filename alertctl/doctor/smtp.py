"""SMTP: one session up to the start of a message, reported as four checks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from alertctl.channels.email.smtp_session import SmtpServer, SmtpSession, server_of
from alertctl.deadline import Deadline
from alertctl.doctor.result import CheckEnded, CheckResult, fix_for, ok, outcome_of, unknown, warning
from alertctl.doctor.runner import CheckRun, trusted_certificates
from alertctl.errors import DeliveryError

_DNS_CODES = ("dns_failure", "dns_timeout")


class SessionStep(IntEnum):
    """The steps of a session, in their order."""

    DNS = 1
    CONNECT = 2
    TLS = 3
    AUTH = 4
    READY = 5


_SILENT = (
    "Set SMTP_SECURITY=tls if that port speaks TLS from the start, else find out why the server sends no greeting."
)
_STEP_NAMES = {SessionStep.DNS: "DNS", SessionStep.CONNECT: "connect", SessionStep.TLS: "TLS", SessionStep.AUTH: "AUTH"}


@dataclass(slots=True)
class SessionProgress:
    """How far a session got. `error` ended it at `step`. `tls_version` is empty without TLS."""

    server: SmtpServer
    step: SessionStep = SessionStep.CONNECT
    secured: bool = False
    tls_version: str = ""
    offers_auth: bool = False
    error: DeliveryError | None = None


class _WatchedSession(SmtpSession):
    """Connect like a session that sends messages, and record how far it gets."""

    def __init__(self, context: Callable[[], ssl.SSLContext], deadline: Deadline, progress: SessionProgress) -> None:
        self._progress = progress
        super().__init__(progress.server, context, deadline)

    def _wants_starttls(self) -> bool:
        self._progress.step = SessionStep.TLS
        return super()._wants_starttls()

    def _secure(self) -> None:
        self._progress.step = SessionStep.TLS
        super()._secure()
        # The greeting or the second EHLO follows: a failure there isn't one of TLS.
        self._progress.secured, self._progress.step = True, SessionStep.CONNECT

    def _authenticate(self) -> None:
        self._progress.step = SessionStep.AUTH
        super()._authenticate()


def check_dns(check_run: CheckRun) -> CheckResult:
    return ok(f"{_session_beyond(SessionStep.DNS, check_run).server.host} resolves")


def check_connect(check_run: CheckRun) -> CheckResult:
    return ok(f"port {_session_beyond(SessionStep.CONNECT, check_run).server.port} sends a greeting")


def check_tls(check_run: CheckRun) -> CheckResult:
    progress = check_run.cached(session)
    if progress.secured:
        return ok(f"{progress.tls_version or 'TLS'}, certificate verified")
    if _session_beyond(SessionStep.TLS, check_run).server.is_loopback:
        return ok("none, and none needed; the server is on this machine")
    return warning("SMTP_SECURITY=none; everything is sent unencrypted", "Set SMTP_SECURITY to starttls or tls.")


def check_auth(check_run: CheckRun) -> CheckResult:
    progress = _session_beyond(SessionStep.AUTH, check_run)
    if progress.server.login.username:
        return ok(f"user name and {'token' if check_run.settings.smtp.auth == 'xoauth2' else 'password'} are accepted")
    if progress.offers_auth:
        return unknown(
            "SMTP_USERNAME is not set, but the server offers a login",
            "Set SMTP_USERNAME and SMTP_PASSWORD if the server requires a login.",
        )
    return ok("no login, and the server offers none")


def _session_beyond(step: SessionStep, check_run: CheckRun) -> SessionProgress:
    """Return the session. Raises CheckEnded when this step, or one before it, failed."""
    progress = check_run.cached(session)
    error = progress.error
    if error is None or progress.step > step:
        return progress
    if progress.step < step:
        raise CheckEnded(unknown(f"not checked: SMTP {_STEP_NAMES[progress.step]} failed"))
    what = error.detail if error.detail.startswith(error.code) else f"{error.code}: {error.detail}"
    silent = error.code == "timeout" and step is SessionStep.CONNECT and not progress.secured
    raise CheckEnded(CheckResult(outcome_of(error), what, _SILENT if silent else fix_for(error, "smtp")))


def session(check_run: CheckRun) -> SessionProgress:
    """Connect, start TLS, log in and quit, without starting a message."""
    deadline = check_run.deadline()
    progress = SessionProgress(server_of(check_run.settings))
    try:
        opened = _WatchedSession(lambda: trusted_certificates(check_run), deadline, progress)
    except DeliveryError as error:
        progress.error = error
        if error.code in _DNS_CODES:
            progress.step = SessionStep.DNS
        return progress
    progress.step = SessionStep.READY
    progress.offers_auth = bool(opened.has_extn("auth"))
    progress.tls_version = opened.tls_version
    opened.quit_and_close()
    return progress
