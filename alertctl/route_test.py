"""Test the routes: the targets that an event would have, and why. Nothing is recorded or sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from sqlalchemy import Connection

from alertctl import preferences, users
from alertctl.events import PREFERENCES
from alertctl.matching import values_of
from alertctl.publish import Publication, prepare
from alertctl.routing import Decision, Outcome, Route, RouteVerdict, RoutingRules, Target, Verdict, decide, explain
from alertctl.routing.routes import DEFAULT
from alertctl.schemas import (
    PreferenceVerdict,
    PublishRequest,
    RoutedTarget,
    RouteItem,
    RouteList,
    RouteTestResult,
    RouteVerdictItem,
    UserItem,
)

MAX_USER_TARGETS = 1000
"""Targets of users that one test lists."""


def list_routes(rules: RoutingRules) -> RouteList:
    """Return the routes of the configuration, and the targets without a route."""
    items = [_item(order, route) for order, route in enumerate(rules.routes.items, 1)]
    return RouteList(items=items, default=[_name(target) for target in rules.targets])


def _item(order: int, route: Route) -> RouteItem:
    return RouteItem(
        order=order,
        name=route.name,
        match={condition.key: condition.text for condition in route.match.conditions},
        to=[*(_name(target) for target in route.to), *([DEFAULT] if route.adds_default else ())],
        options=dict(route.options),
        continues=route.continues,
        broken=route.broken,
    )


def _name(target: Target) -> str:
    return f"{target.channel}:{target.address}"


def run_route_test(
    request: PublishRequest,
    rules: RoutingRules,
    connection: Connection | None,
    user: str | None = None,
    notes: Sequence[str] = (),
) -> RouteTestResult:
    """Return the targets that an event would have if it were published now, with the verdicts that lead to them.

    Required fields may be missing. `user` (an email or id) limits preferences to those of a user;
    without a connection no preferences count. The result has the `notes` too. Raises InvalidEvent, or NotFound for an
    unknown user.
    """
    event = prepare(request, rules, complete=False)
    account = users.find_user(connection, user) if connection is not None and user is not None else None
    user_targets: list[Target] = []
    if connection is not None:
        recipients = preferences.recipients(connection, event.fields.event_type, account.id if account else None)
        user_targets = list(islice(recipients, MAX_USER_TARGETS))
        if more := sum(1 for _ in recipients):
            notes = [*notes, f"{more} more targets of users are not listed"]
    decisions = list(decide(event, rules, user_targets))
    user_ids = {target.user_id for target in user_targets if target.user_id}
    emails = users.names(connection, user_ids) if connection else {}
    return RouteTestResult(
        event_type=event.fields.event_type,
        severity=event.fields.level.value,
        routes=list(_verdicts(explain(event, rules), event)),
        preferences=list(_preferences(connection, event, account, user_targets)) if connection and account else [],
        targets=[_routed(decision, emails.get(decision.target.user_id or "")) for decision in decisions],
        notes=list(notes),
        warnings=list(event.warnings),
    )


def _routed(decision: Decision, user: str | None) -> RoutedTarget:
    target = decision.target
    return RoutedTarget(
        channel=target.channel,
        to=target.address,
        outcome=decision.outcome.value,
        source=decision.source,
        cause=decision.reason if decision.outcome is Outcome.SUPPRESS else None,
        user=user,
    )


def _verdicts(verdicts: Sequence[RouteVerdict], event: Publication) -> Iterator[RouteVerdictItem]:
    values = values_of(event.fields, event.labels)
    ended_by = "the caller names the targets"
    for item in verdicts:
        condition, why = item.mismatch, None
        if item.verdict is Verdict.NOT_REACHED:
            why = ended_by
        elif condition is not None:
            value = values.get(condition.key)
            why = f"{condition.key} is {'missing' if value is None else f'{value[:80]}, not {condition.text}'}"
        elif item.route.broken:
            why = "has a mistake and adds the default targets instead: see alertctl config check"
        elif not item.route.continues:
            ended_by = f"{item.route.name} matched and does not continue"
        mismatch = condition.key if condition else None
        yield RouteVerdictItem(name=item.route.name, verdict=item.verdict.value, mismatch=mismatch, why=why)


def _preferences(
    connection: Connection, event: Publication, user: UserItem, user_targets: Sequence[Target]
) -> Iterator[PreferenceVerdict]:
    for setting, channel in preferences.ADDRESSES.items():
        why = _why_not_notified(connection, event, user, channel)
        address = next((target.address for target in user_targets if target.channel == channel), None)
        if why is None and address is None:
            why = f"{setting} is not set"
        yield PreferenceVerdict(channel=channel, notifies=why is None, address=None if why else address, why=why)


def _why_not_notified(connection: Connection, event: Publication, user: UserItem, channel: str) -> str | None:
    """Return the preference or rule by which a user gets no such event on a channel, None if they get it."""
    event_type, channels = event.fields.event_type, event.fields.channels
    if event_type not in PREFERENCES:
        return f"{event_type} has no preference"
    if user.disabled:
        return "the user is disabled"
    if channels is not None and channel not in channels:
        return f"{event_type} goes to {' and '.join(channels)} only"
    chosen = preferences.effective(connection, user.id)
    switches = (preferences.flag_of(event_type), f"{channel}_enabled")
    return next((f"{switch} is off" for switch in switches if not chosen[switch]), None)
