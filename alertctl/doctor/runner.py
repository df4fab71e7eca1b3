"""Run checks side by side, each with a time limit, and report them in a fixed order."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from pydantic import SecretStr

from alertctl.channels.http_errors import no_reply_error
from alertctl.config import Settings
from alertctl.config.urls import IN_CLEAR, sends_in_clear
from alertctl.deadline import Deadline
from alertctl.doctor.result import CheckEnded, CheckOutcome, CheckResult, failure, unknown
from alertctl.errors import ConfigError, DeliveryError, Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.errors import HttpError
from alertctl.http.proxies import proxy_passwords
from alertctl.http.tls import tls_context
from alertctl.text import Redactor, credential, fit

T = TypeVar("T")
CHECK_SECONDS = 5.0
"""Time limit of a check. All checks start together, so it is also the limit of a run."""
_MARGIN = 0.5
"""Seconds between the limits of a network call and of its check: the call's error says more than "no answer"."""
_LINE = 300
"""Characters of a sentence at most."""


class CheckRun:
    """The state that the checks of one run share: settings, time, cached facts, HTTP client."""

    def __init__(self, settings: Settings, now: datetime, seconds: float = CHECK_SECONDS) -> None:
        self.settings = settings
        self.now = now
        self._call_seconds = min(settings.alertctl.deadline, max(seconds - _MARGIN, seconds / 2))
        self._facts: dict[Callable[..., Any], Future[Any]] = {}
        self._resources = ExitStack()
        self._users = 0
        self._lock = threading.Lock()

    def deadline(self) -> Deadline:
        """Return a deadline from now for the calls of one check, at most that of sending a message."""
        return Deadline(self._call_seconds)

    def cached(self, compute: Callable[[CheckRun], T]) -> T:
        """Return or raise the result of `compute`. The first thread computes it, the others wait for it."""
        with self._lock:
            known = compute in self._facts
            fact = cast("Future[T]", self._facts.setdefault(compute, Future()))
        if not known:
            try:
                fact.set_result(compute(self))
            except BaseException as error:
                fact.set_exception(error)
        return fact.result()

    def closing(self, close: Callable[[], None]) -> None:
        self._resources.callback(close)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Keep the resources open. The last user closes them: that may be a check that didn't end in time."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                is_last = not self._users
            if is_last:
                self._resources.close()


@dataclass(frozen=True, slots=True)
class Check:
    """A check. `late` is the result when it doesn't end in time (None: unknown)."""

    area: str
    name: str
    run: Callable[[CheckRun], CheckResult]
    late: CheckResult | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report: short and without secrets."""

    area: str
    check: str
    outcome: CheckOutcome
    what: str
    fix: str


def run(checks: Sequence[Check], settings: Settings, now: datetime, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """Return a finding for each check, in their order, within `seconds`. Raises nothing."""
    redact = Redactor([*settings.secrets(), *proxy_passwords()], username=settings.smtp.username)
    check_run = CheckRun(settings, now, seconds)
    with check_run.using():
        ends = time.monotonic() + seconds
        started = [_start(check, check_run) for check in checks]
        results = [_wait_for(check, result, ends, seconds) for check, result in zip(checks, started, strict=True)]
    findings = []
    for check, result in zip(checks, results, strict=True):
        # A fix is our own text without secrets: masking a password that is a common word would damage it.
        what, fix = fit(redact.mask(result.what), _LINE, line=True), fit(result.fix, _LINE, line=True)
        findings.append(Finding(check.area, check.name, result.outcome, what, fix))
    return findings


def _start(check: Check, check_run: CheckRun) -> Future[CheckResult]:
    """Start a check on a daemon thread, so that a hanging one doesn't keep the process alive."""
    result: Future[CheckResult] = Future()

    def work() -> None:
        with check_run.using():
            outcome = _result_of(check, check_run)
        result.set_result(outcome)

    threading.Thread(target=work, name=f"doctor-{check.area}-{check.name}", daemon=True).start()
    return result


def _result_of(check: Check, check_run: CheckRun) -> CheckResult:
    try:
        return check.run(check_run)
    except CheckEnded as ended:
        return ended.result
    except ConfigError as error:
        return failure("; ".join(error.problems), "Correct that setting (see alertctl config check).")
    except Exception as error:
        return unknown(f"the check failed: {type(error).__name__}: {error}")


def _wait_for(check: Check, result: Future[CheckResult], ends: float, seconds: float) -> CheckResult:
    try:
        return result.result(max(0.0, ends - time.monotonic()))
    except TimeoutError:
        return check.late or unknown(f"no answer within {seconds:g} s")


def usable_credential(secret: SecretStr, variable: str, *, missing: str) -> str:
    """Return a credential as it is sent. Raises DeliveryError, with the code `missing` for an empty one."""
    usable = credential(secret.get_secret_value(), variable, missing=missing)
    if isinstance(usable, DeliveryError):
        raise usable
    return usable


def request(
    check_run: CheckRun, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: Deadline
) -> Response:
    """Send a request with a client like that of messages. Raises DeliveryError when no reply came back."""
    if sends_in_clear(url) == "public":
        raise DeliveryError(Reason.CONFIG, "bad_url", detail=IN_CLEAR)
    try:
        return check_run.cached(_http_client).request(method, url, headers, body, timeout=deadline.remaining())
    except HttpError as error:
        raise no_reply_error(error) from None


def json_body(reply: Response) -> Any:
    """Return a complete reply's JSON, None for anything else."""
    try:
        return None if reply.truncated else json.loads(reply.body)
    except (ValueError, RecursionError):
        return None


def _http_client(check_run: CheckRun) -> HttpClient:
    settings = check_run.settings.alertctl
    client = HttpClient(settings.deadline, settings.ca_bundle, pool_size=4)
    check_run.closing(client.close)
    return client


def trusted_certificates(check_run: CheckRun) -> ssl.SSLContext:
    """Return the TLS context of every connection. Raises DeliveryError for an unusable ALERTCTL_CA_BUNDLE."""
    try:
        return tls_context(check_run.settings.alertctl.ca_bundle)
    except ConfigError as error:
        raise DeliveryError(Reason.CONFIG, "bad_ca_bundle", detail=str(error)) from None
