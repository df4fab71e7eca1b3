"""Edits of threads' roots: which are due, and what the root is to show.

A claim moves `edit_due_at` past a lease. A reply that comes during the edit moves it further, so that the end of the
edit doesn't remove it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, null, select, update

from alertctl.channels.base import ThreadRoot
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
    connection: Connection, channel: str, now: datetime, lease: float, event_id: str | None = None
) -> tuple[RootEdit | None, datetime | None]:
    """Claim the edit that is due first, in the threads of one event if it is named.

    Return it, or when the next one falls due. An edit for a named event needn't wait for EDIT_GAP: the command that
    published it ends now, and there may be no daemon.
    """
    # `is_not(None)`, because a partial index requires it.
    scope = [thread.c.channel == channel, thread.c.claimed_until.is_(None), thread.c.edit_due_at.is_not(None)]
    if event_id is not None:
        scope.append(thread.c.id.in_(select(delivery.c.thread_id).where(delivery.c.event_id == event_id)))
    last_due = now if event_id is None else now + EDIT_GAP
    due = select(thread.c.id).where(*scope, thread.c.edit_due_at <= last_due).order_by(thread.c.edit_due_at).limit(1)
    lease_ends = now + timedelta(seconds=lease)
    claimed = (
        update(thread)
        .where(thread.c.id.in_(select(due.with_for_update(skip_locked=True).cte("due").c.id)))
        .values(edit_due_at=lease_ends, next_edit_at=lease_ends + EDIT_GAP)
        .returning(thread)
    )
    row = connection.execute(claimed).first()
    if row is None:
        return None, connection.execute(select(func.min(thread.c.edit_due_at)).where(*scope)).scalar()
    count = select(func.count()).where(delivery.c.thread_id == row.id)
    events = (
        select(event)
        .join(delivery, delivery.c.event_id == event.c.id)
        .where(delivery.c.thread_id == row.id)
        .order_by(event.c.occurred_at.desc(), event.c.id.desc())
        .limit(SHOWN_EVENTS)
    )
    shown = list(reversed(connection.execute(events).all()))
    earlier = connection.execute(count).scalar_one() - len(shown)
    root = ThreadRoot(row.provider_channel, row.root_ts)
    return RootEdit(row.id, root, shown, earlier, row.edit_failures, lease_ends), None


def record_edit(connection: Connection, edit: RootEdit, now: datetime) -> None:
    """End an edit. Another one follows if a reply came meanwhile."""
    came_meanwhile = thread.c.edit_due_at != edit.lease_ends
    due_at = case((came_meanwhile, now + EDIT_GAP), else_=null())
    values = {"edit_due_at": due_at, "next_edit_at": now + EDIT_GAP, "edit_failures": 0}
    connection.execute(update(thread).where(*_is_claimed(edit)).values(values))


def postpone_edit(connection: Connection, edit: RootEdit, until: datetime, *, failures: int) -> None:
    """Try the edit again at `until`."""
    values = {"edit_due_at": until, "next_edit_at": until, "edit_failures": failures}
    connection.execute(update(thread).where(*_is_claimed(edit)).values(values))


def remove_thread(connection: Connection, edit: RootEdit) -> None:
    """End the thread, because its root is gone: the subject's next message begins a new one."""
    connection.execute(delete(thread).where(*_is_claimed(edit)))


def _is_claimed(edit: RootEdit) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which the edit still belongs to this process."""
    return thread.c.id == edit.thread_id, thread.c.next_edit_at == edit.lease_ends + EDIT_GAP
