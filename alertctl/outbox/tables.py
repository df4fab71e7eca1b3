"""The tables that the outbox writes, and a claimed delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlmodel import SQLModel

from alertctl import models
from alertctl.channels.base import OutgoingMessage
from alertctl.models import table_of

TABLES = SQLModel.metadata.tables
delivery = table_of(models.Delivery)
attempt = table_of(models.Attempt)
pauses = table_of(models.Pause)
event = table_of(models.Event)
breaker_report = table_of(models.BreakerReport)
run = table_of(models.Run)
instance = table_of(models.InstanceReport)
probe_request = table_of(models.ProbeRequest)
thread = table_of(models.Thread)
person = table_of(models.Person)

INTERRUPTED = "interrupted"
"""The code of an attempt whose lease ended without a result: the message may have arrived."""
SWEEP = 1000
"""Maximum of rows that a statement writes, so that no transaction takes long."""


def is_selected_for_update(rows: Select[tuple[str]]) -> ColumnElement[bool]:
    """Return the condition for the deliveries that this query selects. It locks them and skips those already locked.

    It is a CTE, because Postgres runs a locking CTE exactly once. Some plans run a plain subquery again for each row,
    which makes its limit void.
    """
    return delivery.c.id.in_(select(rows.with_for_update(skip_locked=True).cte("selected").c.id))


@dataclass(frozen=True, slots=True)
class Membership:
    """The thread of a claimed delivery. It ends at `ends_at` unless a newer event than this one's `occurred_at` joins.

    The delivery is the root of the thread that has its own id; any other delivery replies.
    """

    thread_id: str
    occurred_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(OutgoingMessage):
    """A message that this process may send until its lease ends. `attempt` is the fencing token.

    `tries` are the attempts since it was queued or resent (`since`). `was_refused`: the last one was refused for our
    credentials or settings. `membership` is None for a message outside of threads.
    """

    event_id: str
    address_key: str
    priority: int
    attempt: int
    tries: int
    since: datetime
    schedule_step: int
    was_refused: bool
    membership: Membership | None = None

    @property
    def new_thread_id(self) -> str | None:
        """The id of the thread that this message begins, None if it begins none."""
        return self.membership.thread_id if self.membership and self.reply_to is None else None
