"""Routes of the configuration, and the result of a test of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteItem:
    """A route of the configuration. `match` has its conditions by key, `to` its targets (or `default`).

    `options` of messages are those that it sets. `continues`: the routes below are tried too. A `broken` route has a
    mistake: its events go to the default targets, too.
    """

    order: int
    name: str
    match: dict[str, str]
    to: list[str]
    options: dict[str, Any]
    continues: bool
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteList:
    """The routes in their order. `default` has the targets of an event that matches no route."""

    items: list[RouteItem]
    default: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteVerdictItem:
    """The verdict of a route on an event: `matched`, `not matched` or `not reached`, and why.

    `mismatch` is the key of the condition that does not hold.
    """

    name: str
    verdict: str
    mismatch: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceVerdict:
    """Whether a user's preferences notify them of an event on a channel: at an address, or why not."""

    channel: str
    notifies: bool
    address: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedTarget:
    """A target that an event would have. `outcome` is `deliver`, or `suppress` with its `cause`.

    `source` names the rule that chose it: `route NAME`, a setting, `preferences` (of `user`), `label slack`, `--to`.
    """

    channel: str
    to: str
    outcome: str
    source: str
    cause: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTestResult:
    """The targets that an event would have, the verdicts that led to them, and what was not considered (`notes`).

    `preferences` are those of the user that the test names.
    """

    event_type: str
    severity: str
    routes: list[RouteVerdictItem]
    preferences: list[PreferenceVerdict]
    targets: list[RoutedTarget]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
