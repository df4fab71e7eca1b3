"""The routes of the configuration (`[[routes]]`)."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from alertctl.channels import TARGET_EXAMPLES
from alertctl.channels.base import DEFAULT_OPTIONS, MessageOptions
from alertctl.config import validators
from alertctl.config.validators import quoted
from alertctl.content import Severity
from alertctl.errors import InvalidEvent
from alertctl.matching import EVERY_EVENT, Condition, Match, flatten, parse_condition
from alertctl.routing.targets import Target, parse_target
from alertctl.suggestions import did_you_mean

DEFAULT = "default"
"""The entry of `to` that stands for the default targets."""
KEYS = ("name", "match", "to", "mention", "mention_from", "style", "threads", "continue")
"""The keys of a route in TOML."""
_NAME = re.compile(r"[\w ./-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A rule that maps matching events to targets: its own, and the default targets with `adds_default`.

    `options` are the options of messages that it sets. With `continues` the routes below are tried as well.
    A `broken` route has a mistake in the configuration: see `parse_routes`.
    """

    name: str
    match: Match = EVERY_EVENT
    to: tuple[Target, ...] = ()
    adds_default: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    continues: bool = False
    broken: bool = False

    @property
    def suppresses_default(self) -> bool:
        """True if it records the default targets as suppressed: `to = []`."""
        return not self.to and not self.adds_default

    def targets(self, defaults: Sequence[Target]) -> Iterator[Target]:
        """Yield its own targets, then those of the default targets in its own form, if it adds them."""
        yield from self.to
        if self.broken:
            yield from defaults
        elif self.adds_default:
            for target in defaults:
                options = replace(target.options, **self.options)
                yield replace(target, routing_reason="route", route=self.name, options=options)


@dataclass(frozen=True)
class Routes:
    """The routes in their order, and the mistakes in them: one line each, with the route's name and field.

    `hash` is equal for the same configuration.
    """

    items: tuple[Route, ...] = ()
    problems: tuple[str, ...] = ()
    hash: str = hashlib.sha256(b"[]").hexdigest()

    def matching(self, values: Mapping[str, str]) -> list[Route]:
        """Return the first route that matches an event's `values_of`, and the next ones while they continue."""
        matching: list[Route] = []
        for route, match in self._index.get((values["event_type"], values["severity"]), ()):
            if match.mismatch(values) is None:
                matching.append(route)
                if not route.continues:
                    break
        return matching

    @cached_property
    def _index(self) -> Mapping[tuple[str, str], list[tuple[Route, Match]]]:
        """The routes for each event type and severity, with the match that remains: its rarest condition first."""
        uses = Counter(condition for route in self.items for condition in route.match.conditions)
        index: dict[tuple[str, str], list[tuple[Route, Match]]] = defaultdict(list)
        for route in self.items:
            remaining = (item for item in route.match.conditions if item.key not in ("event_type", "severity"))
            match = Match(tuple(sorted(remaining, key=uses.__getitem__)))
            for key in product(route.match.event_types, route.match.severities):
                index[key].append((route, match))
        return index


def parse_routes(
    tables: object, options: Mapping[str, MessageOptions] | None = None, origin: str = "alertctl.toml"
) -> Routes:
    """Return the routes of a configuration; `options` are those of each channel's messages.

    A route with a mistake is replaced, so that no alert is lost by it: events that fulfil its readable conditions go to
    the default targets, and the routes below are tried as well.
    """
    if not isinstance(tables, list | tuple):
        return Routes(problems=(f"routes: is not a list of tables; write [[routes]] before each route (in {origin})",))
    problems: list[str] = []
    routes: list[Route] = []
    for number, table in enumerate(tables, 1):
        parser = _RouteParser(table, number, {route.name for route in routes}, options or {})
        routes.append(parser.route())
        problems += (f"routes.{parser.label}{line} (in {origin})" for line in parser.problems)
    canonical = json.dumps(tables, sort_keys=True, default=str)
    return Routes(tuple(routes), tuple(problems), hashlib.sha256(canonical.encode()).hexdigest())


class _RouteParser:
    """Reads a route's table and collects its problems."""

    def __init__(self, table: object, number: int, names: set[str], options: Mapping[str, MessageOptions]) -> None:
        self.problems: list[str] = []
        self.label = str(number)
        self._names, self._options = names, options
        self._table: Mapping[str, object] = table if isinstance(table, Mapping) else {}
        if not isinstance(table, Mapping):
            self.problems.append(f": {quoted(table)} is not a table; write [[routes]] before each route")

    def route(self) -> Route:
        for key in self._table:
            if key not in KEYS:
                self._add(_plain(key), f"a route has no such key{did_you_mean(key, KEYS)}")
        name = self._read("name", self._name, self.label)
        match = Match(tuple(self._conditions()))
        to = self._read("to", _entries, None)
        if to is None and not self.problems:
            self._add("to", 'is missing; list targets, "default", or nothing ([]) to notify nobody')
        parse_options: dict[str, Callable[[object], Any]] = {
            "mention": validators.mentions,
            "mention_from": validators.one_of(*Severity),
            "style": validators.one_of(*validators.STYLES),
            "threads": validators.yes_or_no,
        }
        options = {
            key: self._read(key, parse, getattr(DEFAULT_OPTIONS, key))
            for key, parse in parse_options.items()
            if key in self._table
        }
        targets = tuple(self._targets(name, to or (), options))
        continues = self._read("continue", validators.yes_or_no, False)
        if self.problems:
            return Route(name=name, match=match, adds_default=True, continues=True, broken=True)
        return Route(
            name=name,
            match=match,
            to=targets,
            adds_default=DEFAULT in (to or ()),
            options=options,
            continues=continues,
        )

    def _add(self, key: str, problem: str) -> None:
        self.problems.append(f".{key}: {problem}")

    def _read(self, key: str, parse: Callable[[object], Any], default: Any) -> Any:
        """Return the parsed value of a key, or the default if it is missing or has a problem."""
        if key not in self._table:
            if key == "name" and not self.problems:
                self._add(key, "is missing; name the route")
            return default
        try:
            return parse(self._table[key])
        except ValueError as error:
            self._add(key, str(error))
            return default

    def _name(self, value: object) -> str:
        name = validators.text(value)
        if not _NAME.fullmatch(name):
            raise ValueError(f"{quoted(value)} is not a name (letters, digits, spaces and ._/-, at most 60 characters)")
        self.label = name
        if name in self._names:
            raise ValueError("is the name of a route above; choose another")
        return name

    def _conditions(self) -> Iterator[Condition]:
        table = self._table.get("match", {})
        if not isinstance(table, Mapping):
            self._add("match", f"{quoted(table)} is not a table of conditions")
            return
        for key, value in flatten(table):
            try:
                yield parse_condition(key, value)
            except ValueError as error:
                self._add(f"match.{_plain(key)}", str(error))

    def _targets(self, name: str, to: Sequence[str], changes: Mapping[str, Any]) -> Iterator[Target]:
        for entry in to:
            if entry == DEFAULT:
                continue
            try:
                target = parse_target(entry, "route")
            except InvalidEvent as error:
                self._add("to", error.message)
            else:
                options = replace(self._options.get(target.channel, DEFAULT_OPTIONS), **changes)
                yield replace(target, route=name, options=options)


def _plain(key: str) -> str:
    """Return a key as it is shown in an error."""
    return key if re.fullmatch(r"[\w.-]{1,60}", key) else quoted(key)


def _entries(value: object) -> list[str]:
    return validators.words(value, f'a list of targets ({", ".join(TARGET_EXAMPLES)}, "default")')
