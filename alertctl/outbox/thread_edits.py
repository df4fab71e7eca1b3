"""Edits of threads' roots: which are due, and what the root is to show.

A claim moves `edit_due_at` past a lease. A reply that comes during the edit moves it further, so that the end of the
edit doesn't remove it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, not_, null, or_, select, update

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
) -> tuple[RootEdit | None, datetime | None]:
    """Claim the edit that is due first. Return it, or when the next one falls due.

    With an event only in its threads, except those that are `edited`. Then no edit falls due that fails, or that is
    in progress and includes the event.
    """
    # `is_not(None)`, because a partial index requires it.
    scope = [thread.c.channel == channel, thread.c.claimed_until.is_(None), thread.c.edit_due_at.is_not(None)]
    if event_id is not None:
        of_event = select(delivery.c.thread_id).where(delivery.c.event_id == event_id)
        scope += [thread.c.id.in_(of_event), thread.c.id.not_in(edited)]
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
        if event_id is not None:
            scope += [thread.c.edit_failures == 0, not_(_is_in_progress())]
        return None, connection.execute(select(func.min(thread.c.edit_due_at)).where(*scope)).scalar()
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
    return RootEdit(row.id, root, shown, earlier, row.edit_failures, lease_ends), None


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Return the condition for a due edit. A time that was written far in the future is wrong: the clock was set back."""
    return or_(thread.c.edit_due_at <= now, thread.c.next_edit_set_at > now + TOLERANCE)


def _is_in_progress() -> ColumnElement[bool]:
    """Return the condition for an edit in progress without a reply since its claim."""
    return and_(thread.c.next_edit_at.is_not(None), thread.c.next_edit_at > thread.c.edit_due_at)


def _happened_at() -> ColumnElement[datetime]:
    """Return `occurred_at`, at most the time when the event came: a clock that is ahead must not hold the state."""
    return case((event.c.occurred_at > event.c.created_at, event.c.created_at), else_=event.c.occurred_at)


def record_edit(connection: Connection, edit: RootEdit, now: datetime) -> None:
    """Record a successful edit, if its lease has not been taken over. Another one follows if a reply came meanwhile."""
    # The delivery before the thread, in the order in which the results of deliveries are recorded.
    is_claimed = select(thread.c.id).where(*_is_claimed(edit)).exists()
    connection.execute(update(delivery).where(delivery.c.id == edit.thread_id, is_claimed).values(edited_at=now))
    end_edit(connection, edit, now)


def end_edit(connection: Connection, edit: RootEdit, now: datetime) -> None:
    """End an edit, successful or not. Another one follows if a reply came meanwhile."""
    came_meanwhile = thread.c.edit_due_at != edit.lease_ends
    due_at = case((came_meanwhile, now + EDIT_GAP), else_=null())
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
