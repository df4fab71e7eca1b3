"""Check why messages don't arrive, without sending any.

    check --reads--> settings, a provider, the database --> CheckResult(outcome, what, fix)

`checks_for` has every check in the order of the report. A new check is one function and one line there.
"""

from __future__ import annotations

from alertctl.doctor.checks import checks_for
from alertctl.doctor.runner import CHECK_SECONDS, Finding, run

__all__ = ["CHECK_SECONDS", "Finding", "checks_for", "run"]
