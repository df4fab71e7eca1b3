"""Decide who receives an event: pure, from the event, the rules and the users' preferences.

Publishing, previews, and tests of routes use it and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Protocol

from alertctl.channels import channel_type
from alertctl.error_codes import ROUTE_PREFIX
from alertctl.events import EventFields
from alertctl.matching import Condition, values_of
from alertctl.routing.routes import Route
from alertctl.routing.rules import RoutingRules
from alertctl.routing.targets import NOT_ALLOWED, Target, label_targets


class RoutedEvent(Protocol):
    """An event with the targets that its caller names, and the only channel that it may use (None: all)."""

    @property
    def fields(self) -> EventFields: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def to(self) -> tuple[Target, ...]: ...
    @property
    def channel(self) -> str | None: ...


class Outcome(StrEnum):
    """The outcome of a decision."""

    DELIVER = "deliver"
    SUPPRESS = "suppress"


class Decision(NamedTuple):
    """A target of an event, and the outcome for it.

    `reason` is why it is suppressed, else why it was chosen. `source` names the rule that chose it: `route NAME`, a
    setting, `preferences`, `label slack`, `--to`.
    """

    target: Target
    outcome: Outcome
    reason: str
    source: str


class Verdict(StrEnum):
    """The result of trying a route for an event."""

    MATCHED = "matched"
    NOT_MATCHED = "not matched"
    NOT_REACHED = "not reached"
    """A route above matched and does not continue, or the caller named the targets."""


@dataclass(frozen=True, slots=True)
class RouteVerdict:
    """A route's verdict on an event; `mismatch` is the first condition that does not hold."""

    route: Route
    verdict: Verdict
    mismatch: Condition | None = None


def decide(event: RoutedEvent, rules: RoutingRules, preferences: Iterable[Target]) -> Iterator[Decision]:
    """Yield a decision for each target of an event, each target once; the first that chose it counts.

    Targets that the caller names replace all others. Else they are those of the matching routes, or the default
    targets if none matches; those that labels name; those of `preferences` (the users who want this type); and last the
    default targets that a route with `to = []` suppresses. `preferences` is read lazily, and only once.
    """
    seen: set[tuple[str, str]] = set()
    for target in _candidates(event, rules, preferences):
        if event.channel not in (None, target.channel) or target.identity in seen:
            continue
        seen.add(target.identity)
        suppressed = target.suppressed_reason or _suppressed_reason(target, rules)
        if suppressed is None:
            yield Decision(target, Outcome.DELIVER, target.routing_reason, _source(target))
        else:
            target = replace(target, suppressed_reason=suppressed)
            yield Decision(target, Outcome.SUPPRESS, suppressed, _source(target))


def explain(event: RoutedEvent, rules: RoutingRules) -> list[RouteVerdict]:
    """Return the verdict of every route on an event, in their order."""
    values = values_of(event.fields, event.labels)
    is_over = bool(event.to)
    verdicts = []
    for route in rules.routes.items:
        mismatch = route.match.mismatch(values)
        if is_over:
            verdicts.append(RouteVerdict(route, Verdict.NOT_REACHED))
        elif mismatch is None:
            verdicts.append(RouteVerdict(route, Verdict.MATCHED))
            is_over = not route.continues
        else:
            verdicts.append(RouteVerdict(route, Verdict.NOT_MATCHED, mismatch))
    return verdicts


def _candidates(event: RoutedEvent, rules: RoutingRules, preferences: Iterable[Target]) -> Iterator[Target]:
    """Yield the targets in the order in which they count, with repetitions."""
    if event.to:
        yield from _in_default_form(event.to, rules)
        return
    channels = event.fields.channels
    defaults = [target for target in rules.targets if channels is None or target.channel in channels]
    routes = rules.routes.matching(values_of(event.fields, event.labels)) if rules.routes.items else []
    if not routes:
        yield from defaults
    for route in routes:
        yield from route.targets(defaults)
    yield from _in_default_form(label_targets(event.labels)[0], rules)
    of_users = preferences if channels is None else (target for target in preferences if target.channel in channels)
    yield from _in_default_form(of_users, rules)
    for route in routes:
        if route.suppresses_default:
            cause = f"{ROUTE_PREFIX}{route.name}"
            yield from (replace(target, suppressed_reason=cause, route=route.name) for target in defaults)


def _in_default_form(targets: Iterable[Target], rules: RoutingRules) -> Iterable[Target]:
    """Return targets that no rule gave a form, in that of their channel's messages."""
    if not rules.options:
        return targets
    return (
        replace(target, options=rules.options[target.channel]) if target.channel in rules.options else target
        for target in targets
    )


def _suppressed_reason(target: Target, rules: RoutingRules) -> str | None:
    if target.channel not in rules.enabled:
        return f"{target.channel}_disabled"
    # The caller's targets are checked when the event is accepted; routes are the operator's own.
    if (target.user_id is not None or target.routing_reason == "label") and not rules.allows(target):
        return NOT_ALLOWED
    return None


def _source(target: Target) -> str:
    if target.route is not None:
        return f"route {target.route}"
    if target.user_id is not None:
        return "preferences"
    if target.routing_reason == "label":
        return f"label {target.channel}"
    if target.routing_reason == "named":
        return "--to"
    return channel_type(target.channel).default_addresses_setting or target.routing_reason
