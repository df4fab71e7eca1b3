"""The settings of a channel: is it on, and do its settings fit together?"""

from __future__ import annotations

from alertctl.config import check as check_config
from alertctl.doctor.result import CheckResult, failure, ok, warning
from alertctl.doctor.runner import CheckRun


def check_enabled(check_run: CheckRun, channel: str) -> CheckResult:
    """Check whether a channel is on. Off is a warning, and a failure when no channel is on."""
    enabled = {"Slack": check_run.settings.slack.enabled, "email": check_run.settings.email.enabled}
    if enabled[channel]:
        return ok(f"{channel} is on")
    fix = f"Set {channel.upper()}_ENABLED=true."
    if any(enabled.values()):
        return warning(f"{channel} is off; its new deliveries are suppressed", fix)
    return failure(f"{channel} is off, and so is the other channel; no message is sent", fix)


def check_settings(check_run: CheckRun, prefixes: tuple[str, ...], except_for: tuple[str, ...]) -> CheckResult:
    """Return the problems of settings with these prefixes, and of the CA bundle, without which no channel sends."""
    problems = [
        problem
        for problem in check_config(check_run.settings)
        if problem.name.startswith((*prefixes, "ALERTCTL_CA_BUNDLE")) and problem.name not in except_for
    ]
    if not problems:
        return ok("no conflicts")
    what = "; ".join(f"{problem.name} {problem.message}" for problem in problems)
    fix = f"Change {' and '.join(dict.fromkeys(problem.name for problem in problems))} (see: alertctl config check)."
    return (failure if any(problem.severity == "error" for problem in problems) else warning)(what, fix)
