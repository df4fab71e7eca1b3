"""Running checks side by side, each bounded in time, and reporting them in a fixed order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from alertctl.config import Settings
from alertctl.deadline import Deadline
from alertctl.doctor.result import CheckResult, Outcome, failure, unknown
from alertctl.errors import ConfigError
from alertctl.http.proxies import proxy_passwords
from alertctl.text import Redactor, fit

T = TypeVar("T")
CHECK_SECONDS = 5.0
"""How long one check may last. All begin at once, so it is also how long the whole doctor may."""
_MARGIN = 0.5
"""Seconds by which a network call ends before its check has to: its own error says more than "no answer"."""
_LINE = 300
"""Characters of a sentence that are worth reading."""


class CheckRun:
    """What the checks of one run share: the settings, the time, and facts that are found out only once."""

    def __init__(self, settings: Settings, now: datetime, seconds: float = CHECK_SECONDS) -> None:
        self.settings = settings
        self.now = now
        self._call_seconds = min(settings.alertctl.deadline, max(seconds - _MARGIN, seconds / 2))
        self._facts: dict[Callable[..., Any], Future[Any]] = {}
        self._open: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def deadline(self) -> Deadline:
        """For the calls of one check, from now on: no longer than a send of a message would get."""
        return Deadline(self._call_seconds)

    def once(self, find: Callable[[CheckRun], T]) -> T:
        """What `find` returns or raises. The first thread that asks finds out, the others wait for it."""
        with self._lock:
            known = find in self._facts
            fact = cast("Future[T]", self._facts.setdefault(find, Future()))
        if not known:
            try:
                fact.set_result(find(self))
            except BaseException as error:
                fact.set_exception(error)
        return fact.result()

    def closing(self, close: Callable[[], None]) -> None:
        """Call `close` at the end of the run."""
        with self._lock:
            self._open.append(close)

    def close(self) -> None:
        with self._lock:
            opened, self._open = self._open, []
        for close in reversed(opened):
            close()


def _always(_: Settings) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `applies` says whether it makes sense with these settings; `late` is what is found when
    it doesn't end in time (None: can't tell)."""

    area: str
    name: str
    run: Callable[[CheckRun], CheckResult]
    applies: Callable[[Settings], bool] = _always
    late: CheckResult | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report, fit to be shown: on one line, and without secrets."""

    area: str
    check: str
    outcome: Outcome
    what: str
    fix: str


def run(checks: Sequence[Check], settings: Settings, now: datetime, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """One finding for each check that applies, in the order of `checks`, after `seconds` at most. Raises nothing."""
    redact = Redactor([*settings.secrets(), *proxy_passwords()], username=settings.smtp.username)
    check_run = CheckRun(settings, now, seconds)
    due = [check for check in checks if check.applies(settings)]
    try:
        answers = _side_by_side(due, check_run, seconds)
    finally:
        check_run.close()
    return [_finding(check, found, redact) for check, found in zip(due, answers, strict=True)]


def _side_by_side(checks: Sequence[Check], check_run: CheckRun, seconds: float) -> list[CheckResult]:
    ends = time.monotonic() + seconds
    started = [(check, _start(check, check_run)) for check in checks]
    return [_awaited(check, answer, ends - time.monotonic(), seconds) for check, answer in started]


def _start(check: Check, check_run: CheckRun) -> Future[CheckResult]:
    """On a daemon thread: one that hangs is left behind."""
    answer: Future[CheckResult] = Future()

    def work() -> None:
        answer.set_result(_answer(check, check_run))

    threading.Thread(target=work, name=f"doctor-{check.area}-{check.name}", daemon=True).start()
    return answer


def _answer(check: Check, check_run: CheckRun) -> CheckResult:
    try:
        return check.run(check_run)
    except ConfigError as error:
        return failure("; ".join(error.problems), "Correct that setting (alertctl config check).")
    except Exception as error:
        return unknown(f"the check itself failed: {type(error).__name__}: {error}")


def _awaited(check: Check, answer: Future[CheckResult], left: float, seconds: float) -> CheckResult:
    try:
        return answer.result(max(0.0, left))
    except TimeoutError:
        return check.late or unknown(f"no answer within {seconds:g} s")


def _finding(check: Check, found: CheckResult, redact: Redactor) -> Finding:
    # A fix is our own words: a password that is a common word must not tear holes into it.
    what, fix = fit(redact.mask(found.what), _LINE, line=True), fit(found.fix, _LINE, line=True)
    return Finding(check.area, check.name, found.outcome, what, fix)
