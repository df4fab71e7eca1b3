"""SMTP: one session up to where a message would begin, told as four checks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from alertctl.channels.email.message import Sender
from alertctl.channels.email.smtp_session import Security, SmtpServer, SmtpSession
from alertctl.deadline import Deadline
from alertctl.doctor.carrier import certificates
from alertctl.doctor.result import CheckResult, fix_for, ok, outcome_of, unknown, warning
from alertctl.doctor.runner import CheckRun
from alertctl.errors import DeliveryError

_DNS_CODES = ("dns_failure", "dns_timeout")


class Step(IntEnum):
    """Where a session stands, in the order in which it gets there."""

    DNS = 1
    CONNECT = 2
    TLS = 3
    AUTH = 4
    READY = 5


_SILENT = "Set SMTP_SECURITY=tls if that port speaks TLS from the start, else see why its server doesn't greet."
_SHOWN = {Step.DNS: "DNS", Step.CONNECT: "connect", Step.TLS: "TLS", Step.AUTH: "AUTH"}


@dataclass(slots=True)
class Progress:
    """How far a session got. `error` ended it at `step`. `version` is TLS's, empty for a connection in clear."""

    server: SmtpServer
    step: Step = Step.CONNECT
    secured: bool = False
    version: str = ""
    offers_auth: bool = False
    error: DeliveryError | None = None


class _WatchedSession(SmtpSession):
    """Connects like any session that carries messages, and notes how far it gets."""

    def __init__(self, context: Callable[[], ssl.SSLContext], deadline: Deadline, progress: Progress) -> None:
        self._progress = progress
        super().__init__(progress.server, context, deadline)

    def _wants_starttls(self) -> bool:
        self._progress.step = Step.TLS
        return super()._wants_starttls()

    def _secure(self) -> None:
        self._progress.step = Step.TLS
        super()._secure()
        # The greeting, or the second EHLO, comes next: what fails there isn't TLS.
        self._progress.secured, self._progress.step = True, Step.CONNECT

    def _authenticate(self) -> None:
        self._progress.step = Step.AUTH
        super()._authenticate()


def dns(check_run: CheckRun) -> CheckResult:
    progress = check_run.once(session)
    return _told(progress, Step.DNS) or ok(f"an address for {progress.server.host} is known")


def connect(check_run: CheckRun) -> CheckResult:
    progress = check_run.once(session)
    return _told(progress, Step.CONNECT) or ok(f"port {progress.server.port} greets us")


def tls(check_run: CheckRun) -> CheckResult:
    progress = check_run.once(session)
    if progress.secured:
        return ok(f"{progress.version or 'TLS'}, certificate verified")
    told = _told(progress, Step.TLS)
    if told is not None:
        return told
    if progress.server.is_loopback:
        return ok("none, and none needed: the server is on this machine")
    return warning("SMTP_SECURITY=none: everything travels in clear", "Set SMTP_SECURITY to starttls or tls.")


def auth(check_run: CheckRun) -> CheckResult:
    progress = check_run.once(session)
    told = _told(progress, Step.AUTH)
    if told is not None:
        return told
    if progress.server.username:
        return ok("user name and password are accepted")
    if progress.offers_auth:
        return unknown(
            "SMTP_USERNAME isn't set, and the server offers a login",
            "Set SMTP_USERNAME and SMTP_PASSWORD if it wants one.",
        )
    return ok("no login, and the server offers none")


def session(check_run: CheckRun) -> Progress:
    """Connect, secure, log in, say QUIT; no message is begun."""
    deadline = check_run.deadline()
    progress = Progress(_server(check_run))
    try:
        opened = _WatchedSession(lambda: certificates(check_run), deadline, progress)
    except DeliveryError as error:
        progress.error = error
        if error.code in _DNS_CODES:
            progress.step = Step.DNS
        return progress
    progress.step = Step.READY
    progress.offers_auth = bool(opened.has_extn("auth"))
    progress.version = (opened.sock.version() or "") if isinstance(opened.sock, ssl.SSLSocket) else ""
    opened.quit_and_close()
    return progress


def _server(check_run: CheckRun) -> SmtpServer:
    """The same as the SMTP channel's, its EHLO included."""
    smtp, sender = check_run.settings.smtp, Sender(check_run.settings.email.from_address)
    password = smtp.password.get_secret_value().rstrip("\r\n")
    return SmtpServer(
        smtp.host, smtp.port, smtp.username, password, cast("Security | None", smtp.security), sender.domain
    )


def _told(progress: Progress, step: Step) -> CheckResult | None:
    """What the session's end says of this step; None when it was taken."""
    error = progress.error
    if error is None or progress.step > step:
        return None
    if progress.step < step:
        return unknown(f"not reached: SMTP {_SHOWN[progress.step]} failed before it")
    what = error.detail if error.detail.startswith(error.code) else f"{error.code}: {error.detail}"
    silent = error.code == "timeout" and step is Step.CONNECT and not progress.secured
    return CheckResult(outcome_of(error), what, _SILENT if silent else fix_for(error, "smtp"))
