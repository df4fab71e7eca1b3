"""Edits of threads' roots: find and claim those that are due, with the events that the root then shows.

A claim moves `edit_due_at` past a lease. A reply that is sent during the edit moves it further, so that the end of the
edit doesn't remove it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    update,
)

from alertctl.channels.base import MessageOptions, ThreadRoot
from alertctl.outbox.clock_skew import TOLERANCE
from alertctl.outbox.tables import delivery, event, thread

EDIT_GAP = timedelta(seconds=5)
"""The time between two edits of a root, at least. Replies in between share the next one."""
SHOWN_EVENTS = 10
"""Events that a root shows, at most."""


@dataclass(frozen=True, slots=True)
class RootEdit:
    """An edit that belongs to this process until `lease_ends`. `events` are the newest ones, oldest first.

    `earlier` is the number of older events. `failures` is how often it failed.
    """

    thread_id: str
    root: ThreadRoot
    events: Sequence[Row[Any]]
    earlier: int
    failures: int
    lease_ends: datetime


def claim_edit(
    connection: Connection,
    channel: str,
    now: datetime,
    lease: float,
    event_id: str | None = None,
    edited: Collection[str] = (),
) -> RootEdit | None:
    """Claim the edit that is due first, among the threads that `next_edit_due_at` looks at. Return None without one."""
    scope = _threads_to_edit(channel, event_id, edited)
    due = select(thread.c.id).where(*scope, _is_due(now)).order_by(thread.c.edit_due_at).limit(1)
    lease_ends = now + timedelta(seconds=lease)
    claimed = (
        update(thread)
        .where(thread.c.id.in_(select(due.with_for_update(skip_locked=True).cte("due").c.id)))
        .values(edit_due_at=lease_ends, next_edit_at=lease_ends + EDIT_GAP, next_edit_set_at=now)
        .returning(thread)
    )
    row = connection.execute(claimed).first()
    if row is None:
        return None
    count = select(func.count()).where(delivery.c.thread_id == row.id)
    events = (
        select(event)
        .join(delivery, delivery.c.event_id == event.c.id)
        .where(delivery.c.thread_id == row.id)
        .order_by(_happened_at().desc(), event.c.id.desc())
        .limit(SHOWN_EVENTS)
    )
    shown = list(reversed(connection.execute(events).all()))
    earlier = connection.execute(count).scalar_one() - len(shown)
    options = connection.execute(select(delivery.c.options).where(delivery.c.id == row.id)).scalar()
    root = ThreadRoot(row.provider_channel, row.root_ts, MessageOptions.from_json(options).style)
    return RootEdit(row.id, root, shown, earlier, row.edit_failures, lease_ends)


def next_edit_due_at(
    connection: Connection, channel: str, now: datetime, event_id: str | None = None, edited: Collection[str] = ()
) -> datetime | None:
    """Return when the next edit of the channel falls due, `now` if one is due, None if none will.

    With an event, look only at its threads, except those in `edited`. Ignore an edit that failed before, or that is in
    progress and includes the event, until it is due.
    """
    conditions = _threads_to_edit(channel, event_id, edited)
    if event_id is not None:
        conditions.append(or_(_is_due(now), and_(thread.c.edit_failures == 0, not_(_is_in_progress()))))
    due_at = case((_is_due(now), literal(now, thread.c.edit_due_at.type)), else_=thread.c.edit_due_at)
    return connection.execute(select(func.min(due_at)).where(*conditions)).scalar()


def _threads_to_edit(channel: str, event_id: str | None, edited: Collection[str]) -> list[ColumnElement[bool]]:
    """Return the conditions for open threads with an edit, of an event if it is set, except those in `edited`."""
    # `is_not(None)`, because a partial index requires it.
    conditions = [thread.c.channel == channel, thread.c.claimed_until.is_(None), thread.c.edit_due_at.is_not(None)]
    if event_id is not None:
        of_event = select(delivery.c.thread_id).where(delivery.c.event_id == event_id)
        conditions += [thread.c.id.in_(of_event), thread.c.id.not_in(edited)]
    return conditions


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Return the condition for a due edit. One that was written far in the future is due: the clock was set back."""
    return or_(thread.c.edit_due_at <= now, thread.c.next_edit_set_at > now + TOLERANCE)


def _is_in_progress() -> ColumnElement[bool]:
    """Return the condition for an edit in progress without a reply since its claim."""
    return and_(thread.c.next_edit_at.is_not(None), thread.c.next_edit_at > thread.c.edit_due_at)


def _happened_at() -> ColumnElement[datetime]:
    """Return `occurred_at`, at most `created_at`: an event from a clock that is ahead must not stay the newest one."""
    return case((event.c.occurred_at > event.c.created_at, event.c.created_at), else_=event.c.occurred_at)


def record_edit(connection: Connection, edit: RootEdit, now: datetime) -> None:
    """Record a successful edit, unless another process has claimed it since. Then end it (`end_edit`)."""
    # The delivery before the thread, in the order in which the results of deliveries are recorded.
    is_claimed = select(thread.c.id).where(*_is_claimed(edit)).exists()
    connection.execute(update(delivery).where(delivery.c.id == edit.thread_id, is_claimed).values(edited_at=now))
    end_edit(connection, edit, now)


def end_edit(connection: Connection, edit: RootEdit, now: datetime) -> None:
    """End an edit, successful or not. If a reply was sent since its claim, the next edit is due after EDIT_GAP."""
    has_new_reply = thread.c.edit_due_at != edit.lease_ends
    due_at = case((has_new_reply, now + EDIT_GAP), else_=null())
    values = {"edit_due_at": due_at, "next_edit_at": now + EDIT_GAP, "next_edit_set_at": now, "edit_failures": 0}
    connection.execute(update(thread).where(*_is_claimed(edit)).values(values))


def postpone_edit(connection: Connection, edit: RootEdit, now: datetime, until: datetime, *, failures: int) -> None:
    """Try the edit again at `until`."""
    values = {"edit_due_at": until, "next_edit_at": until, "next_edit_set_at": now, "edit_failures": failures}
    connection.execute(update(thread).where(*_is_claimed(edit)).values(values))


def remove_thread(connection: Connection, edit: RootEdit) -> None:
    """End the thread, because its root is gone: the subject's next message begins a new one."""
    connection.execute(delete(thread).where(*_is_claimed(edit)))


def _is_claimed(edit: RootEdit) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which the edit still belongs to this process."""
    return thread.c.id == edit.thread_id, thread.c.next_edit_at == edit.lease_ends + EDIT_GAP
