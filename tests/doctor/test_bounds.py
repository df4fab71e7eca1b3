"""Whatever hangs, the doctor ends in time; whatever breaks, it reports."""

from __future__ import annotations

import threading
import time

import pytest

from alertctl.config import Settings
from alertctl.doctor import runner
from alertctl.doctor.result import CheckResult, failure, ok
from alertctl.doctor.runner import Check, CheckRun
from doctor.clinic import NOW, examined, failures


def _hang(_: CheckRun) -> CheckResult:
    threading.Event().wait(30)
    return ok("too late")


def _break(_: CheckRun) -> CheckResult:
    raise RuntimeError("xoxb-planted-secret broke")


def test_a_check_that_hangs_cannot_be_told_and_holds_up_no_other():
    checks = [Check("slack", "a", _hang), Check("slack", "b", lambda _: ok("fine")), Check("slack", "c", _hang)]
    began = time.monotonic()
    found = runner.run(checks, Settings(), NOW, seconds=0.1)
    assert time.monotonic() - began < 10
    assert [finding.outcome for finding in found] == ["unknown", "ok", "unknown"]
    assert found[0].what == "no answer within 0.1 s"


def test_a_check_may_say_what_its_lateness_means():
    late = Check("db", "a", _hang, late=failure("away", "Start it."))
    assert runner.run([late], Settings(), NOW, seconds=0.05)[0].outcome == "failure"


def test_a_check_that_breaks_cannot_be_told_and_leaks_nothing():
    found = runner.run([Check("db", "a", _break)], Settings(), NOW)[0]
    assert found.outcome == "unknown"
    assert found.what == "the check itself failed: RuntimeError: *** broke"


def test_a_fact_is_found_out_once_for_all_that_ask():
    asked: list[int] = []

    def fact(_: CheckRun) -> int:
        asked.append(1)
        time.sleep(0.02)
        return len(asked)

    checks = [Check("db", str(n), lambda check_run: ok(str(check_run.cached(fact)))) for n in range(8)]
    assert {finding.what for finding in runner.run(checks, Settings(), NOW)} == {"1"}


def test_what_is_shown_is_one_short_line_without_control_characters():
    check = Check("db", "a", lambda _: ok("a\nb\x1b[31m\u202e " + "x" * 5000))
    what = runner.run([check], Settings(), NOW)[0].what
    assert what.startswith("a b[31m x")
    assert len(what) <= 300


@pytest.mark.parametrize("email", ["smtp", "sendgrid"])
@pytest.mark.parametrize("fault", ["black_hole", "drip"])
def test_providers_that_never_answer_end_in_time_and_are_failures(clinic, email, fault):
    for provider in clinic.sandbox.providers:
        provider.faults.always(fault)
    began = time.monotonic()
    found = examined(clinic.environ(email=email), clinic.folder, seconds=0.6)
    assert time.monotonic() - began < 10
    assert failures(found) == {"slack auth.test", "email SMTP connect" if email == "smtp" else "email mail.send"}


def test_a_short_deadline_of_the_settings_counts_here_too(clinic):
    clinic.sandbox.slack.latency = 0.5
    assert failures(clinic.slack(ALERTCTL_DEADLINE="100ms")) == {"auth.test"}
