"""Check the routes of a configuration: mistakes, routes that match nothing, routes that take alerts away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alertctl.config import SettingProblem
from alertctl.config.validators import too_many_mentions
from alertctl.content import Severity
from alertctl.events import EVENT_TYPES
from alertctl.routing.routes import DEFAULT, Route
from alertctl.routing.rules import RoutingRules

CRITICAL_TYPES = frozenset(kind.event_type for kind in EVENT_TYPES if kind.model_construct().level is Severity.CRITICAL)
"""The event types that are always critical."""
SINGLE_ROUTES = 3
"""Routes with the same warning that have a line each. More share one line, which names the first."""


def check_routes(rules: RoutingRules) -> list[SettingProblem]:
    """Return the problems of the routes, errors first."""
    errors = (problem.partition(": ") for problem in rules.routes.problems)
    problems = [SettingProblem(name, "error", message) for name, _, message in errors]
    routes_of: dict[str, list[str]] = {}
    for route, message in _warnings(rules):
        routes_of.setdefault(message, []).append(route.name)
    for message, names in routes_of.items():
        if len(names) > SINGLE_ROUTES:
            first = ", ".join(names[:SINGLE_ROUTES])
            problems.append(SettingProblem("routes", "warning", f"{len(names)} routes ({first}, …): each {message}"))
        else:
            problems += [SettingProblem(f"routes.{name}", "warning", message) for name in names]
    return problems


def _warnings(rules: RoutingRules) -> Iterator[tuple[Route, str]]:
    routes = [route for route in rules.routes.items if not route.broken]
    for index, route in enumerate(routes):
        if problem := too_many_mentions(route.options.get("mention", ())):
            yield route, problem
        missing = route.match.missing_field()
        above = next((item for item in routes[:index] if not item.continues and item.match.covers(route.match)), None)
        if missing:
            types = ", ".join(sorted(route.match.event_types))
            yield route, f"matches no event: {types} has no field {missing}; correct match"
        elif above:
            yield route, f"is never reached: {above.name} above matches the same events; move it up"
        elif CRITICAL_TYPES & route.match.event_types and Severity.CRITICAL in route.match.severities:
            for channel in _channels_without_targets(routes[index:], rules):
                types = ", ".join(sorted(CRITICAL_TYPES & route.match.event_types))
                advice = f'add a target there or "{DEFAULT}", or exclude the type'
                yield route, f"takes the critical {types} away from {channel}; {advice}"


def _channels_without_targets(routes: Sequence[Route], rules: RoutingRules) -> list[str]:
    """Return the default targets' channels on which an event that matches the first of these routes has no target."""
    channels = {target.channel for target in rules.targets if target.channel in rules.enabled}
    for route in routes:
        if route.match.covers(routes[0].match):
            channels -= {target.channel for target in route.targets(rules.targets)}
            if not route.continues:
                break
    return sorted(channels)
