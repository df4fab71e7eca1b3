"""What settings alone show, in the words of `config.check`."""

from __future__ import annotations

from collections.abc import Sequence

from alertctl.config import Settings, check
from alertctl.doctor.result import CheckResult, failure, ok, warning


def well_set(settings: Settings, prefixes: tuple[str, ...], elsewhere: Sequence[str]) -> CheckResult:
    """The problems of settings whose names begin so, but for those that have a check of their own."""
    problems = [
        problem for problem in check(settings) if problem.name.startswith(prefixes) and problem.name not in elsewhere
    ]
    if not problems:
        return ok("they fit together")
    what = "; ".join(f"{problem.name} {problem.message}" for problem in problems)
    fix = f"Change {' and '.join(dict.fromkeys(problem.name for problem in problems))} (see: alertctl config check)."
    return (failure if any(problem.severity == "error" for problem in problems) else warning)(what, fix)


def switched_on(on: bool, other_on: bool, name: str, variable: str) -> CheckResult:
    """Being off is a choice, unless nothing is on."""
    if on:
        return ok(f"{name} is on")
    fix = f"Set {variable}=true."
    if other_on:
        return warning(f"{name} is off: its deliveries are suppressed", fix)
    return failure(f"{name} is off, and so is the other channel: nobody is told anything", fix)
