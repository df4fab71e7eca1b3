"""The doctor ends in time when a check hangs, and reports when one breaks."""

from __future__ import annotations

import threading
import time

import pytest

from alertctl.config import Settings
from alertctl.doctor import runner
from alertctl.doctor.result import CheckResult, failure, ok
from alertctl.doctor.runner import Check, CheckRun
from tests.support.doctor import NOW, failures, run_doctor


def _hang(_: CheckRun) -> CheckResult:
    threading.Event().wait(30)
    return ok("too late")


def _break(_: CheckRun) -> CheckResult:
    raise RuntimeError("xoxb-planted-secret broke")


def test_a_check_that_hangs_is_unknown_and_delays_no_other():
    checks = [Check("slack", "a", _hang), Check("slack", "b", lambda _: ok("fine")), Check("slack", "c", _hang)]
    began = time.monotonic()
    findings = runner.run(checks, Settings(), NOW, seconds=0.1)
    assert time.monotonic() - began < 10
    assert [finding.outcome for finding in findings] == ["unknown", "ok", "unknown"]
    assert findings[0].what == "no answer within 0.1 s"


def test_a_check_may_define_its_result_when_it_is_late():
    late = Check("db", "a", _hang, late=failure("away", "Start it."))
    assert runner.run([late], Settings(), NOW, seconds=0.05)[0].outcome == "failure"


def test_a_check_that_breaks_is_unknown_and_leaks_nothing():
    finding = runner.run([Check("db", "a", _break)], Settings(), NOW)[0]
    assert finding.outcome == "unknown"
    assert finding.what == "the check failed: RuntimeError: *** broke"


def test_a_cached_fact_is_computed_once():
    asked: list[int] = []

    def fact(_: CheckRun) -> int:
        asked.append(1)
        time.sleep(0.02)
        return len(asked)

    checks = [Check("db", str(n), lambda check_run: ok(str(check_run.cached(fact)))) for n in range(8)]
    assert {finding.what for finding in runner.run(checks, Settings(), NOW)} == {"1"}


def test_a_finding_is_one_short_line_without_control_characters():
    check = Check("db", "a", lambda _: ok("a\nb\x1b[31m\u202e " + "x" * 5000))
    what = runner.run([check], Settings(), NOW)[0].what
    assert what.startswith("a b[31m x")
    assert len(what) <= 300


@pytest.mark.parametrize("email", ["smtp", "sendgrid"])
@pytest.mark.parametrize("fault", ["black_hole", "drip"])
def test_providers_that_never_answer_end_in_time_and_are_failures(harness, email, fault):
    for provider in harness.sandbox.providers:
        provider.faults.always(fault)
    began = time.monotonic()
    findings = run_doctor(harness.environ(email=email), harness.folder, seconds=1.5)
    assert time.monotonic() - began < 10
    assert failures(findings) == {"slack auth.test", "email SMTP connect" if email == "smtp" else "email mail.send"}


def test_a_short_deadline_of_the_settings_counts_here_too(harness):
    harness.sandbox.slack.latency = 0.5
    assert failures(harness.slack(ALERTCTL_DEADLINE="100ms")) == {"auth.test"}
