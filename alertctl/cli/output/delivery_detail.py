"""`alertctl log show`: one delivery's story on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from alertctl.channels import ROUTING_RULES
from alertctl.cli.output.deliveries import print_deliveries, short
from alertctl.cli.output.streams import plain, print_line
from alertctl.cli.output.table import STYLES, console, wrapped
from alertctl.cli.output.times import moment_in_full, until
from alertctl.error_codes import fix, meaning

if TYPE_CHECKING:
    from alertctl.schemas import AttemptItem, DeliveryDetail

WORD = 10
"""Columns of the word that a line begins with; the line goes on below what follows it."""


def tell(one: DeliveryDetail, moment: datetime) -> None:
    """Print the event, why this target, every attempt, and what comes next."""
    from rich.text import Text

    out = console()
    out.print(
        Text(f"{one.status}  {one.channel} {plain(one.to, ' ')}", style=f"bold {STYLES.get(one.status, '')}".strip())
    )
    for line in _standing(one, moment):
        first, *more = wrapped(line[WORD:], out.width - WORD)
        print_line(f"{line[:WORD]}{first}")
        for part in more:
            print_line(f"{' ' * WORD}{part}")
    for heading, lines in (("Event", list(_event(one))), ("Attempts", list(attempt_lines(one)))):
        out.print(Text(f"\n{heading}", style="bold"))
        for line in (piece for text in lines for piece in text.splitlines()):
            indent = " " * (2 + len(line) - len(line.lstrip()))
            for part in wrapped(line.strip(), out.width - len(indent)):
                print_line(f"{indent}{part}")
    if one.others:
        out.print(Text("\nThe event's other deliveries", style="bold"))
        print_deliveries(one.others)


def _standing(one: DeliveryDetail, moment: datetime) -> Iterator[str]:
    if one.error:
        provider = one.attempt_log[-1].provider if one.attempt_log else None
        yield f"error     {plain(one.error, ' ')}: {meaning(one.error, one.reason)}"
        yield f"do        {fix(one.error, one.reason, provider, final=one.next_attempt_at is None)}"
    if one.status == "failed":
        yield f"next      {_next(one, moment)}"
    if one.ambiguous:
        yield "ambiguous an answer was lost: it may arrive twice"
    if one.provider_id:
        yield f"provider  {plain(one.provider_id, ' ')}"
    yield f"why       {_why(one)}"
    yield f"delivery  {one.id}"


def _why(one: DeliveryDetail) -> str:
    """Which rule of routing chose this target, and whose preference that was, as a sentence."""
    user = plain(one.user or "somebody", " ")
    reason = ROUTING_RULES[one.rule].reason if one.rule in ROUTING_RULES else one.rule
    return reason.format(user=user, event_type=one.event_type)


def _next(one: DeliveryDetail, moment: datetime) -> str:
    if one.reason == "config" and one.next_attempt_at is not None:
        return "as soon as a process with accepted credentials runs; nothing is lost meanwhile"
    if one.next_attempt_at is None:
        return f"none: this is final; alertctl log retry {short(one.id)} sends it again"
    return f"{moment_in_full(one.next_attempt_at)} ({until(one.next_attempt_at, moment)})"


def _event(one: DeliveryDetail) -> Iterator[str]:
    event = one.event
    test = ", a test" if event.is_test else ""
    yield plain(event.title, " ")
    yield plain(event.summary)
    by = f", published by {plain(event.published_by, ' ')}" if event.published_by else ""
    yield f"{event.event_type}, {event.severity}{test}, {moment_in_full(event.occurred_at)}{by}"
    yield f"event {event.id}"


def attempt_lines(one: DeliveryDetail) -> Iterator[str]:
    if not one.attempt_log:
        yield _no_attempt(one)
    for each in one.attempt_log:
        yield _attempt(each)
        if each.answer and each.answer != each.code:
            yield f"   {plain(each.answer)}"


def _no_attempt(one: DeliveryDetail) -> str:
    if one.status == "suppressed":
        return "none: it was held back"
    return "none" if one.status == "failed" else "none yet"


def _attempt(each: AttemptItem) -> str:
    took = f" after {each.duration_ms} ms" if each.duration_ms is not None else ""
    how = each.outcome or "no ending: under way, or its sender died"
    code = f" {plain(each.code, ' ')}" if each.code and each.outcome != "success" else ""
    by = f", asked for by {plain(each.requested_by, ' ')}" if each.requested_by else ""
    return f"{each.number}. {moment_in_full(each.started_at)} {each.provider}: {how}{code}{took}{by}"
