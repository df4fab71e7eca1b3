"""What a person does when messages are not arriving, done for them. Sends nothing to anybody.

    check --asks--> settings, a provider, the database --> Found(outcome, what, fix)

`CHECKS` lists every check in the order in which it is reported. A new check is one function and one line there.
"""

from __future__ import annotations

from alertctl.doctor.checks import AREAS, CHECKS
from alertctl.doctor.result import Outcome
from alertctl.doctor.runner import CHECK_SECONDS, Finding, run

__all__ = ["AREAS", "CHECKS", "CHECK_SECONDS", "Finding", "Outcome", "run"]
