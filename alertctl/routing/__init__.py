"""From an event to its targets: pure, from the rules of the configuration and the users' preferences."""

from __future__ import annotations

from alertctl.routing.audience import Audience, audience_of
from alertctl.routing.check import check_routes
from alertctl.routing.decide import Decision, Outcome, RouteVerdict, Verdict, decide, explain
from alertctl.routing.rules import Route, Routes, parse_routes
from alertctl.routing.targets import NOT_ALLOWED, RecipientPolicy, Target, label_targets, parse_target

__all__ = [
    "NOT_ALLOWED",
    "Audience",
    "Decision",
    "Outcome",
    "RecipientPolicy",
    "Route",
    "RouteVerdict",
    "Routes",
    "Target",
    "Verdict",
    "audience_of",
    "check_routes",
    "decide",
    "explain",
    "label_targets",
    "parse_routes",
    "parse_target",
]
