"""From an event to its targets: pure, from the rules of the configuration and the users' preferences."""

from __future__ import annotations

from alertctl.routing.check import check_routes
from alertctl.routing.decide import Decision, Outcome, RouteVerdict, Verdict, decide, explain
from alertctl.routing.routes import Route, Routes, parse_routes
from alertctl.routing.rules import RoutingRules, routing_rules_of
from alertctl.routing.targets import NOT_ALLOWED, RecipientPolicy, Target, label_targets, parse_target

__all__ = [
    "NOT_ALLOWED",
    "Decision",
    "Outcome",
    "RecipientPolicy",
    "Route",
    "RouteVerdict",
    "Routes",
    "RoutingRules",
    "Target",
    "Verdict",
    "check_routes",
    "decide",
    "explain",
    "label_targets",
    "parse_routes",
    "parse_target",
    "routing_rules_of",
]
