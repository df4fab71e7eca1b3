"""The rules for every event: the platform's own targets, the recipient policy and the routes, from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from alertctl.channels import CHANNEL_TYPES
from alertctl.channels.base import DEFAULT_OPTIONS, MessageOptions
from alertctl.config import Settings
from alertctl.routing.routes import Routes, parse_routes
from alertctl.routing.targets import RecipientPolicy, Target


@dataclass(frozen=True)
class RoutingRules:
    """The rules for every event: the platform's own targets, the enabled channels, the policy for all other targets,
    the routes, and the options of messages by channel where neither route nor setting says otherwise."""

    targets: tuple[Target, ...] = ()
    enabled: frozenset[str] = frozenset()
    policy: RecipientPolicy = field(default_factory=RecipientPolicy)
    routes: Routes = field(default_factory=Routes)
    options: Mapping[str, MessageOptions] = field(default_factory=dict)

    def allows(self, target: Target) -> bool:
        """Return whether a target is allowed by the policy or the platform's own."""
        return self.policy.allows(target.channel, target.address) or target.identity in self._own

    def check(self, target: Target) -> None:
        """Raise InvalidEvent for a named target that is neither the platform's own nor allowed."""
        if target.identity not in self._own:
            self.policy.check(target.channel, target.address, "to")

    @cached_property
    def _own(self) -> frozenset[tuple[str, str]]:
        return frozenset(own.identity for own in self.targets)


def routing_rules_of(settings: Settings) -> RoutingRules:
    """Return the rules of these settings, with their routes parsed."""
    options = {kind.name: kind.message_options(settings) for kind in CHANNEL_TYPES}
    return RoutingRules(
        tuple(
            Target(kind.name, address, kind.default_routing_reason.name, options=kind.default_address_options(settings))
            for kind in CHANNEL_TYPES
            for address in kind.default_addresses(settings)
        ),
        frozenset(channel for channel, enabled in settings.channels.items() if enabled),
        RecipientPolicy({kind.name: tuple(kind.allowed_addresses(settings)) for kind in CHANNEL_TYPES}),
        parse_routes(settings.routes, options, settings.origin("ROUTES")),
        {name: form for name, form in options.items() if form != DEFAULT_OPTIONS},
    )
