"""`alertctl routes`: the routes of the configuration, and a test of the targets that an event has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Annotated

import typer

from alertctl.addresses import identity
from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.commands.help import CHECK_FAILED
from alertctl.cli.context import connected, flags_of
from alertctl.cli.options import EventOption, LabelOption, SetOption, SeverityOption, completion
from alertctl.cli.output.deliveries import option_texts
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_json, print_line, warn
from alertctl.cli.output.table import Column, print_list, print_table
from alertctl.cli.output.times import now
from alertctl.cli.send_request import build_request
from alertctl.errors import InvalidEvent
from alertctl.schemas import RoutedTarget, RouteItem, RouteTestResult, as_json

HELP = """
\b
alertctl routes
alertctl routes test --event safety_rollback --set environment=production
alertctl routes test --event rollout_advance --expect none

List the routes of the configuration in their order, and the default targets.
"""
app = typer.Typer(name="routes", rich_markup_mode=None)
NO_TARGET = "none"
"""The value of `--expect` for no target at all."""
ROUTE_COLUMNS = (
    Column("#", needed=True),
    Column("NAME", least=8, needed=True, wraps=True),
    Column("MATCH", least=14, needed=True, wraps=True),
    Column("TO", least=14, needed=True, wraps=True),
)
VERDICT_COLUMNS = (
    Column("ROUTE", lambda route: route.name, least=8, needed=True, wraps=True),
    Column("VERDICT", lambda route: route.verdict, needed=True),
    Column("WHY", lambda route: route.why or "", least=12, needed=True, wraps=True),
)
PREFERENCE_COLUMNS = (
    Column("PREFERENCE", lambda item: item.channel, needed=True),
    Column("NOTIFIES", lambda item: "yes" if item.notifies else "no", needed=True),
    Column("ADDRESS OR REASON", lambda item: item.address or item.why or "", least=12, needed=True, wraps=True),
)
TARGET_COLUMNS = (
    Column("TARGET", lambda target: _name(target), least=12, needed=True, wraps=True),
    Column("OUTCOME", lambda target: target.outcome, needed=True),
    Column("CHOSEN BY", lambda target: _chosen_by(target), least=12, needed=True, wraps=True),
    Column("CAUSE", lambda target: target.cause or "", least=12, needed=True, wraps=True),
)
UserOption = Annotated[
    str | None,
    typer.Option(
        "--user", "-u", metavar="USER", help="Consider only the preferences of this user (email address or id)."
    ),
]
ExpectOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TARGET",
        help="Target that the event should be delivered to (none: no target; suppressed ones do not count); "
        "repeatable. Exit with 10 if the targets differ.",
        autocompletion=completion([*(f"{channel}:" for channel in CHANNEL_NAMES), NO_TARGET]),
    ),
]


@app.callback(invoke_without_command=True, help=HELP)
def routes(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    if context.invoked_subcommand is not None:
        return
    with connected(context, tolerate=True) as client:
        listed = client.routes()
    if output is Output.JSON:
        print_json(listed)
        return
    rows = [row for route in listed.items for row in _route_rows(route)]
    print_table(ROUTE_COLUMNS, [*rows, *_rows(("", "(no route)"), [], listed.default or ["nobody"])])


def _route_rows(route: RouteItem) -> Iterator[tuple[str, ...]]:
    match = [f"{key}: {text}" for key, text in route.match.items()] or ["every event"]
    if route.broken:
        match = ["a mistake: see alertctl config check"]
    to = [*(route.to or ["nobody"]), *option_texts(route.options), *(["continue"] if route.continues else ())]
    return _rows((str(route.order), route.name), match, to)


def _rows(head: tuple[str, str], match: Sequence[str], to: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a route: each condition, target and option on a row of its own."""
    for condition, target in zip_longest(match, to, fillvalue=""):
        yield (*head, condition, target)
        head = ("", "")


@app.command("test", short_help="Show which targets an event has, and why.")
def run_test(
    context: typer.Context,
    event: EventOption = None,
    assignments: SetOption = None,
    severity: SeverityOption = None,
    labels: LabelOption = None,
    user: UserOption = None,
    expect: ExpectOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl routes test --event safety_rollback --set environment=production
    alertctl routes test --event generic_alert --user ana@corp.example
    alertctl routes test --event rollout_advance --expect slack:#rollouts

    Show which targets an event has: the verdict of each route, the preferences, the outcome for each target.

    Nothing is recorded or sent. Fields may be left out, even required ones.
    Without a database, users' preferences are not considered.
    """
    from alertctl.client.server_config import server_of
    from alertctl.config import read_readable

    expected = _expected(expect or ())
    values, _ = read_readable(flags=flags_of(context))
    remote = server_of(values) is not None
    request = build_request(event, {"severity": severity}, assignments, None, now(), labels=labels, remote=remote)
    with connected(context, tolerate=True) as client:
        result = client.test_routes(request, user)
    for text in result.warnings:
        warn(text)
    for text in result.notes:
        eprint(f"alertctl: {text}")
    missing, unexpected = _differences(expected, result.targets) if expected is not None else ([], [])
    if output is Output.JSON:
        print_json({**as_json(result), "missing": missing, "unexpected": unexpected})
    else:
        _print(result)
    for problem in _problems(missing, unexpected, result.targets):
        eprint(f"alertctl: {problem}")
    if missing or unexpected:
        raise typer.Exit(CHECK_FAILED)


def _expected(texts: Sequence[str]) -> dict[tuple[str, str], str] | None:
    """Return the expected targets by identity, None if there is no expectation. Raises InvalidEvent."""
    if not texts or list(texts) == [NO_TARGET]:
        return {} if texts else None
    if NO_TARGET in texts:
        raise InvalidEvent("--expect", f"{NO_TARGET} means no target; leave it out, or the other targets")
    from alertctl.routing import parse_target

    try:
        targets = [parse_target(text) for text in texts]
    except InvalidEvent as error:
        raise InvalidEvent("--expect", error.message) from None
    return {target.identity: f"{target.channel}:{target.address}" for target in targets}


def _differences(expected: dict[tuple[str, str], str], targets: Sequence[RoutedTarget]) -> tuple[list[str], list[str]]:
    """Return the expected targets that the event would not be sent to, and the other targets that it would."""
    delivered = [target for target in targets if target.outcome == "deliver"]
    actual = {(target.channel, identity(target.channel, target.to)): _name(target) for target in delivered}
    missing = [name for key, name in expected.items() if key not in actual]
    return missing, [name for key, name in actual.items() if key not in expected]


def _name(target: RoutedTarget) -> str:
    return f"{target.channel}:{target.to}"


def _chosen_by(target: RoutedTarget) -> str:
    return f"{target.source} of {target.user}" if target.user else target.source


def _print(result: RouteTestResult) -> None:
    print_line(f"{result.event_type}, severity {result.severity}\n")
    if result.routes:
        print_list(result.routes, VERDICT_COLUMNS)
    else:
        print_line("no routes are configured")
    if result.preferences:
        print_line("")
        print_list(result.preferences, PREFERENCE_COLUMNS)
    print_line("")
    if result.targets:
        print_list(result.targets, TARGET_COLUMNS)
    else:
        print_line("no target: nobody would be notified")


def _problems(missing: Sequence[str], unexpected: Sequence[str], targets: Sequence[RoutedTarget]) -> Iterator[str]:
    suppressed = {_name(target): target.cause for target in targets if target.outcome != "deliver"}
    for name in missing:
        yield f"missing: {name} ({f'suppressed: {suppressed[name]}' if name in suppressed else 'nothing chooses it'})"
    chosen = {_name(target): target.source for target in targets}
    for name in unexpected:
        yield f"unexpected: {name} (chosen by {chosen[name]})"
