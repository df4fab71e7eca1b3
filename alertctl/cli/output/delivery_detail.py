"""`alertctl log show`: one delivery in detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from alertctl.channels import ROUTING_REASONS, providers_of
from alertctl.cli.output.deliveries import labels_text, option_texts, print_deliveries, short
from alertctl.cli.output.streams import plain, print_line
from alertctl.cli.output.table import STYLES, console, wrapped
from alertctl.cli.output.times import clock, moment_in_full, until
from alertctl.error_codes import fix, meaning
from alertctl.errors import Reason
from alertctl.schemas import AttemptItem, DeliveryDetail, Paused

LABEL_WIDTH = 10
"""Width of a line's label; wrapped text is indented by it."""


def print_detail(delivery: DeliveryDetail, paused: Sequence[Paused], moment: datetime) -> None:
    """Print the state, the event, the reason for this target, every attempt and the next one.

    `paused` are the paused providers; the open circuit breaker of its channel explains why a delivery waits.
    """
    from rich.text import Text

    out = console()
    out.print(
        Text(
            f"{delivery.status}  {delivery.channel} {plain(delivery.to, ' ')}",
            style=f"bold {STYLES.get(delivery.status, '')}".strip(),
        )
    )
    for line in _summary(delivery, paused, moment):
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
    if delivery.replies:
        out.print(Text("\nReplies in its thread", style="bold"))
        print_deliveries(delivery.replies)


def _summary(delivery: DeliveryDetail, paused: Sequence[Paused], moment: datetime) -> Iterator[str]:
    if delivery.error:
        provider = delivery.attempt_log[-1].provider if delivery.attempt_log else None
        last = next((item for item in reversed(delivery.attempt_log) if item.code == delivery.error), None)
        reason, answer = (last.reason, last.answer) if last else (None, None)
        is_over = delivery.reason == Reason.EXPIRED and _has_expired(delivery, moment)
        code = Reason.EXPIRED if is_over else delivery.error
        yield f"error     {plain(delivery.error, ' ')}: {meaning(delivery.error, delivery.reason, reason)}"
        final = delivery.next_attempt_at is None
        do = fix(code, delivery.reason, provider, final=final, answer=answer, attempt_reason=reason)
        yield f"do        {do}"
    elif delivery.status == "pending" and (breaker := _open_breaker(delivery, paused)):
        yield f"waits     {_breaker_state(breaker, moment)}"
        yield f"do        {fix(breaker.code, Reason.CONFIG, breaker.provider)}"
    if delivery.status in ("failed", "pending"):
        yield f"next      {_next(delivery, moment)}"
    if delivery.ambiguous:
        yield "ambiguous the provider's answer was lost: the message may arrive twice"
    if delivery.provider_id:
        yield f"provider  {plain(delivery.provider_id, ' ')}"
    if delivery.thread_id:
        yield f"thread    {_thread(delivery)}"
    yield f"why       {_why(delivery)}"
    if delivery.options:
        yield f"message   {plain(', '.join(option_texts(delivery.options)), ' ')}"
    yield f"delivery  {delivery.id}"


def _thread(delivery: DeliveryDetail) -> str:
    if delivery.thread_id != delivery.id:
        return f"reply in the thread of {delivery.thread_id}"
    return "root of a thread" + (f", edited {moment_in_full(delivery.edited_at)}" if delivery.edited_at else "")


def _why(delivery: DeliveryDetail) -> str:
    """Return the routing reason as a sentence, with the user whose preference it was."""
    user = plain(delivery.user or "a user", " ")
    known = ROUTING_REASONS.get(delivery.routing_reason)
    reason = known.reason if known else delivery.routing_reason
    return reason.format(user=user, event_type=delivery.event_type, route=plain(delivery.route or "", " "))


def _open_breaker(delivery: DeliveryDetail, paused: Sequence[Paused]) -> Paused | None:
    providers = providers_of(delivery.channel)
    return next((pause for pause in paused if pause.breaker and pause.provider in providers), None)


def _breaker_state(breaker: Paused, moment: datetime) -> str:
    process = f" on host {breaker.host}, pid {breaker.pid}" if breaker.host else ""
    probe = f"next probe {clock(breaker.until, moment)}"
    return f"{breaker.provider} is paused{process} ({plain(breaker.code, ' ')}); {probe}"


def _next(delivery: DeliveryDetail, moment: datetime) -> str:
    if delivery.next_attempt_at is None:
        if _has_expired(delivery, moment):
            return "none: this is final, and the event's --expires time has passed"
        return f"none: this is final; alertctl log retry {short(delivery.id)} resends it"
    if delivery.reason == Reason.CONFIG and delivery.next_attempt_at <= moment:
        return "as soon as a process runs whose settings and credentials work"
    when = f"{moment_in_full(delivery.next_attempt_at)} ({until(delivery.next_attempt_at, moment)})"
    return f"{when}, by alertctl serve or alertctl dispatch --once" if delivery.status == "pending" else when


def _has_expired(delivery: DeliveryDetail, moment: datetime) -> bool:
    """Return whether the event's own time limit has passed: a resend would expire at once."""
    return delivery.event.expires_at is not None and delivery.event.expires_at <= moment


def _event(delivery: DeliveryDetail) -> Iterator[str]:
    event = delivery.event
    test = ", a test" if event.is_test else ""
    yield plain(event.title, " ")
    if event.summary.rstrip(".") != event.title.rstrip("."):
        yield plain(event.summary)
    by = f", published by {plain(event.published_by, ' ')}" if event.published_by else ""
    yield f"{event.event_type}, {event.severity}{test}, {moment_in_full(event.occurred_at)}{by}"
    if delivery.labels:
        yield f"labels {plain(labels_text(delivery.labels), ' ')}"
    yield f"event {event.id}"


def attempt_lines(delivery: DeliveryDetail) -> Iterator[str]:
    if not delivery.attempt_log:
        explanations = {"suppressed": "none: it was suppressed", "failed": "none"}
        yield explanations.get(delivery.status, "none yet")
    for attempt in delivery.attempt_log:
        yield _attempt(attempt)
        if attempt.answer and attempt.answer != attempt.code:
            yield f"   {plain(attempt.answer)}"
        if attempt.note:
            yield from (f"   note: {note}" for note in plain(attempt.note).splitlines())


def _attempt(attempt: AttemptItem) -> str:
    duration = f" after {attempt.duration_ms} ms" if attempt.duration_ms is not None else ""
    outcome = attempt.outcome or "no result: in progress, or its process ended"
    code = f" {plain(attempt.code, ' ')}" if attempt.code and attempt.outcome != "success" else ""
    by = f", requested by {plain(attempt.requested_by, ' ')}" if attempt.requested_by else ""
    return f"{attempt.number}. {moment_in_full(attempt.started_at)} {attempt.provider}: {outcome}{code}{duration}{by}"
