"""`alertctl log show`: one delivery's story on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from alertctl.cli.output import plain, print_line
from alertctl.cli.preview import WHY
from alertctl.cli.rows import print_deliveries, short
from alertctl.cli.table import STYLES, console
from alertctl.cli.times import moment_in_full, until

if TYPE_CHECKING:
    from alertctl.schemas import AttemptItem, DeliveryDetail

REASONS = {
    "rate_limited": "the provider asked us to wait",
    "unavailable": "the provider surely didn't take it",
    "ambiguous": "no verdict came back: it may have arrived",
    "config": "our credentials or settings are wrong: nothing passes until somebody repairs them",
    "bad_address": "this address doesn't take it",
    "rejected": "the provider dislikes the message itself",
}
"""What each reason of DESIGN's table means to somebody who reads the log."""


def tell(one: DeliveryDetail, moment: datetime) -> None:
    """Print the event, why this target, every attempt, and what comes next."""
    from rich.text import Text

    out = console()
    out.print(
        Text(f"{one.status}  {one.channel} {plain(one.to, ' ')}", style=f"bold {STYLES.get(one.status, '')}".strip())
    )
    for line in _standing(one, moment):
        print_line(textwrap.fill(line, out.width, subsequent_indent=" " * 10))
    for heading, lines in (("Event", list(_event(one))), ("Attempts", list(attempt_lines(one)))):
        out.print(Text(f"\n{heading}", style="bold"))
        for line in (piece for text in lines for piece in text.splitlines()):
            indent = " " * (2 + len(line) - len(line.lstrip()))
            print_line(textwrap.fill(line.strip(), out.width, initial_indent=indent, subsequent_indent=indent))
    if one.others:
        out.print(Text("\nThe event's other deliveries", style="bold"))
        print_deliveries(one.others)


def _standing(one: DeliveryDetail, moment: datetime) -> Iterator[str]:
    if one.error:
        meaning = f": {REASONS[one.reason]}" if one.reason in REASONS else ""
        yield f"error     {plain(one.error, ' ')}{meaning}"
    if one.status == "failed":
        yield f"next      {_next(one, moment)}"
    if one.ambiguous:
        yield "ambiguous an answer was lost: it may arrive twice"
    if one.provider_id:
        yield f"provider  {plain(one.provider_id, ' ')}"
    whose = f" ({plain(one.user, ' ')})" if one.user else ""
    yield f"why       {WHY.get(one.rule, one.rule)}{whose}"
    yield f"delivery  {one.id}"


def _next(one: DeliveryDetail, moment: datetime) -> str:
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
        yield "none yet" if one.status != "suppressed" else "none: it was held back"
    for each in one.attempt_log:
        yield _attempt(each)
        if each.answer and each.answer != each.code:
            yield f"   {plain(each.answer)}"


def _attempt(each: AttemptItem) -> str:
    took = f" after {each.duration_ms} ms" if each.duration_ms is not None else ""
    how = each.outcome or "no ending: under way, or its sender died"
    code = f" {plain(each.code, ' ')}" if each.code and each.outcome != "success" else ""
    by = f", asked for by {plain(each.requested_by, ' ')}" if each.requested_by else ""
    return f"{each.number}. {moment_in_full(each.started_at)} {each.provider}: {how}{code}{took}{by}"
