"""The tables that the outbox writes, and a claimed delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import SQLModel

from alertctl.channels.base import OutgoingMessage
from alertctl.models import Attempt, BreakerReport, Delivery, Event, Instance, Pause, Person, ProbeRequest, Run, Thread

TABLES = SQLModel.metadata.tables
delivery = TABLES[str(Delivery.__tablename__)]
attempt = TABLES[str(Attempt.__tablename__)]
pauses = TABLES[str(Pause.__tablename__)]
event = TABLES[str(Event.__tablename__)]
breaker_report = TABLES[str(BreakerReport.__tablename__)]
run = TABLES[str(Run.__tablename__)]
instance = TABLES[str(Instance.__tablename__)]
probe_request = TABLES[str(ProbeRequest.__tablename__)]
thread = TABLES[str(Thread.__tablename__)]
person = TABLES[str(Person.__tablename__)]

INTERRUPTED = "interrupted"
"""The code of an attempt whose lease ended without a result: the message may have arrived."""
SWEEP = 1000
"""Maximum of rows that a statement writes, so that no transaction takes long."""


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
