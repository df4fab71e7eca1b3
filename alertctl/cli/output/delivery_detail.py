"""`alertctl log show`: one delivery in detail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from alertctl.channels import ROUTING_REASONS
from alertctl.cli.output.deliveries import print_deliveries, short
from alertctl.cli.output.streams import plain, print_line
from alertctl.cli.output.table import STYLES, console, wrapped
from alertctl.cli.output.times import moment_in_full, until
from alertctl.error_codes import fix, meaning
from alertctl.schemas import AttemptItem, DeliveryDetail

LABEL_WIDTH = 10
"""Width of a line's label; wrapped text is indented by it."""


def print_detail(delivery: DeliveryDetail, moment: datetime) -> None:
    """Print the state, the event, the reason for this target, every attempt and the next one."""
    from rich.text import Text

    out = console()
    out.print(
        Text(
            f"{delivery.status}  {delivery.channel} {plain(delivery.to, ' ')}",
            style=f"bold {STYLES.get(delivery.status, '')}".strip(),
        )
    )
    for line in _summary(delivery, moment):
        first, *more = wrapped(line[LABEL_WIDTH:], out.width - LABEL_WIDTH)
        print_line(f"{line[:LABEL_WIDTH]}{first}")
        for part in more:
            print_line(f"{' ' * LABEL_WIDTH}{part}")
    for heading, lines in (("Event", list(_event(delivery))), ("Attempts", list(attempt_lines(delivery)))):
        out.print(Text(f"\n{heading}", style="bold"))
        for line in (piece for text in lines for piece in text.splitlines()):
            indent = " " * (2 + len(line) - len(line.lstrip()))
            for part in wrapped(line.strip(), out.width - len(indent)):
                print_line(f"{indent}{part}")
    if delivery.others:
        out.print(Text("\nThe event's other deliveries", style="bold"))
        print_deliveries(delivery.others)


def _summary(delivery: DeliveryDetail, moment: datetime) -> Iterator[str]:
    if delivery.error:
        provider = delivery.attempt_log[-1].provider if delivery.attempt_log else None
        yield f"error     {plain(delivery.error, ' ')}: {meaning(delivery.error, delivery.reason)}"
        yield f"do        {fix(delivery.error, delivery.reason, provider, final=delivery.next_attempt_at is None)}"
    if delivery.status == "failed":
        yield f"next      {_next(delivery, moment)}"
    if delivery.ambiguous:
        yield "ambiguous the provider's answer was lost: the message may arrive twice"
    if delivery.provider_id:
        yield f"provider  {plain(delivery.provider_id, ' ')}"
    yield f"why       {_why(delivery)}"
    yield f"delivery  {delivery.id}"


def _why(delivery: DeliveryDetail) -> str:
    """Return the routing reason as a sentence, with the user whose preference it was."""
    user = plain(delivery.user or "somebody", " ")
    known = ROUTING_REASONS.get(delivery.routing_reason)
    reason = known.reason if known else delivery.routing_reason
    return reason.format(user=user, event_type=delivery.event_type)


def _next(delivery: DeliveryDetail, moment: datetime) -> str:
    if delivery.reason == "config" and delivery.next_attempt_at is not None:
        return "when a process with accepted credentials runs; the delivery waits until then"
    if delivery.next_attempt_at is None:
        return f"none: this is final; alertctl log retry {short(delivery.id)} resends it"
    return f"{moment_in_full(delivery.next_attempt_at)} ({until(delivery.next_attempt_at, moment)})"


def _event(delivery: DeliveryDetail) -> Iterator[str]:
    event = delivery.event
    test = ", a test" if event.is_test else ""
    yield plain(event.title, " ")
    yield plain(event.summary)
    by = f", published by {plain(event.published_by, ' ')}" if event.published_by else ""
    yield f"{event.event_type}, {event.severity}{test}, {moment_in_full(event.occurred_at)}{by}"
    yield f"event {event.id}"


def attempt_lines(delivery: DeliveryDetail) -> Iterator[str]:
    if not delivery.attempt_log:
        explanations = {"suppressed": "none: it was suppressed", "failed": "none"}
        yield explanations.get(delivery.status, "none yet")
    for attempt in delivery.attempt_log:
        yield _attempt(attempt)
        if attempt.answer and attempt.answer != attempt.code:
            yield f"   {plain(attempt.answer)}"


def _attempt(attempt: AttemptItem) -> str:
    duration = f" after {attempt.duration_ms} ms" if attempt.duration_ms is not None else ""
    outcome = attempt.outcome or "no result: in progress, or its sender crashed"
    code = f" {plain(attempt.code, ' ')}" if attempt.code and attempt.outcome != "success" else ""
    by = f", requested by {plain(attempt.requested_by, ' ')}" if attempt.requested_by else ""
    return f"{attempt.number}. {moment_in_full(attempt.started_at)} {attempt.provider}: {outcome}{code}{duration}{by}"
