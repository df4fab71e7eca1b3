"""One thread per subject and address: its first message is the root, later ones are replies.

The thread's row is claimed with its root's delivery and for the same lease. Other messages wait until the root
is sent, because the provider's answer to it has the id that a reply needs.

    no row, free or ended --claim--> claimed --root sent--> open --reply--> open --ends_at--> ended
                                        |                     |
                                        +--root failed: free  +--root or channel gone: no row
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Update,
    and_,
    any_,
    bindparam,
    case,
    delete,
    or_,
    select,
    true,
    update,
)

from alertctl.channels.base import Receipt, ThreadRoot
from alertctl.db import bulk_parameter, bulk_rows, insert_of
from alertctl.events import broadcasts
from alertctl.outbox.tables import Claimed, Membership, delivery, thread

if TYPE_CHECKING:
    from alertctl.outbox.record import AttemptResult

ROOT_WAIT_SECONDS = 30.0
"""How long a message waits for the root of its thread, at most. Then it is sent outside of the thread."""
RETRY_SECONDS = 1.0
"""Seconds after which a message that waits for its root is claimed again."""
ROOTS_FAIL_FOR = timedelta(minutes=10)
"""How long messages of a subject go out on their own while its roots fail. Then they wait for a root again."""
OPEN_FOR = timedelta(days=14)
"""A thread ends this long after its newest event."""
OPEN_AFTER_END_FOR = timedelta(days=1)
"""A thread ends this long after an event that ends its subject, such as an experiment's `completed`."""

Key = tuple[str, str]
"""An address key and a subject key."""


class ThreadPlan:
    """Decides for one claim which deliveries begin a thread, reply in it, or wait for its root."""

    def __init__(
        self,
        connection: Connection,
        channel: str,
        default: bool | None,
        claims: Sequence[Claimed],
        events: Mapping[str, Row[Any]],
        now: datetime,
    ) -> None:
        """`default`: whether messages form threads unless their options say otherwise; None if the channel can't."""
        self._connection = connection
        self._channel = channel
        self._events = events
        self._now = now
        self._keys: dict[str, Key] = {}
        if default is not None:
            for claimed in claims:
                subject = events[claimed.event_id].subject_key
                if subject and (default if claimed.options.threads is None else claimed.options.threads):
                    self._keys[claimed.delivery_id] = claimed.address_key, subject
        self._threads = self._read_threads()
        self._roots: dict[Key, Claimed] = {}

    def _read_threads(self) -> dict[Key, Row[Any]]:
        if not self._keys:
            return {}
        keys = [dict(zip(_KEY_COLUMNS, (self._channel, *key), strict=True)) for key in {*self._keys.values()}]
        parameters = bulk_parameter(self._connection, keys)
        rows = self._connection.execute(_select_threads(self._connection.dialect.name), parameters)
        return {(row.address_key, row.subject_key): row for row in rows}

    def has_to_wait(self, claimed: Claimed, seconds: float) -> bool:
        """Return whether another message that is being sent becomes the root; at most `seconds` after its claim."""
        key = self._keys.get(claimed.delivery_id)
        if key is None:
            return False
        row: Any = self._threads.get(key)
        is_sent_now = key in self._roots or self._is_claimed_by_another(row, claimed)
        return is_sent_now and not self._has_waited(claimed, row, timedelta(seconds=seconds))

    def _has_waited(self, claimed: Claimed, row: Any, longest: timedelta) -> bool:
        """Return whether a message has waited this long for a root, or for several that failed one after the other."""
        if row is None or row.claimed_until is None or abs(self._now - claimed.since) < longest:
            return False
        no_root_for = abs(self._now - row.claimed_at)
        return bool(longest <= no_root_for and (row.claimed_until > self._now or no_root_for < ROOTS_FAIL_FOR))

    def _is_claimed_by_another(self, row: Any, claimed: Claimed) -> bool:
        return (
            row is not None
            and row.claimed_until is not None
            and row.claimed_until > self._now
            and row.id != claimed.delivery_id
        )

    def join(self, claimed: Claimed) -> Claimed:
        """Return the message as a reply or root, or unchanged outside of a thread."""
        key = self._keys.get(claimed.delivery_id)
        if key is None:
            return claimed
        row, event = self._threads.get(key), self._events[claimed.event_id]
        # A time in the future must not keep the thread open until then.
        occurred_at = min(event.occurred_at, self._now)
        ends_at = occurred_at + (OPEN_AFTER_END_FOR if event.ends_subject else OPEN_FOR)
        if row is not None and row.claimed_until is None and occurred_at <= row.ends_at:
            return replace(
                claimed,
                reply_to=ThreadRoot(row.provider_channel, row.root_ts),
                broadcast=broadcasts(event),
                membership=Membership(row.id, occurred_at, ends_at),
            )
        if key in self._roots or self._is_claimed_by_another(row, claimed):
            return claimed
        root = replace(claimed, membership=Membership(claimed.delivery_id, occurred_at, ends_at))
        self._roots[key] = root
        return root

    def claim_roots(self, until: datetime) -> set[str]:
        """Claim the threads of the new roots. Return the ids of those that another process claimed meanwhile."""
        if not self._roots:
            return set()
        rows = [
            {
                "id": root.delivery_id,
                "address_key": key[0],
                "subject_key": key[1],
                "occurred_at": root.membership.occurred_at,
                "ends_at": root.membership.ends_at,
            }
            # In the same order in every process, so that two don't wait for each other.
            for key, root in sorted(self._roots.items(), key=lambda item: item[0])
            if root.membership is not None
        ]
        parameters = {"of_channel": self._channel, "of_now": self._now, "of_end": until}
        parameters["of_series"] = self._now - ROOTS_FAIL_FOR
        parameters |= bulk_parameter(self._connection, rows)
        claimed = set(self._connection.execute(_claim_statement(self._connection.dialect.name), parameters).scalars())
        return {root.delivery_id for root in self._roots.values()} - claimed


@cache
def _select_threads(dialect: str) -> Select[Any]:
    # With the channel as a parameter of its own, SQLite would read all threads of the channel.
    keys = bulk_rows(dialect, (thread.c[name] for name in _KEY_COLUMNS))
    same_key = select(thread).where(*(thread.c[name] == keys.c[name] for name in _KEY_COLUMNS))
    if dialect == "sqlite":
        return same_key
    # A subquery for each row, because Postgres would read all of a table with up to about 13 000 threads.
    match = same_key.correlate(keys).offset(0).lateral()
    return select(match).select_from(keys.join(match, true()))


_KEY_COLUMNS = ("channel", "address_key", "subject_key")
_COLUMNS_SET_WHILE_OPEN = ("provider_channel", "root_ts", "edit_due_at", "next_edit_at", "next_edit_set_at")


@cache
def _claim_statement(dialect: str) -> Any:
    """Return the statement that inserts threads, or takes over those that ended or whose root's lease ended."""
    own = ("id", "address_key", "subject_key", "occurred_at", "ends_at")
    new = bulk_rows(dialect, (thread.c[name] for name in own)).c
    common = {"channel": "of_channel", "claimed_at": "of_now", "claimed_until": "of_end"}
    parameters = (bindparam(parameter, type_=thread.c[name].type) for name, parameter in common.items())
    # SQLite needs the WHERE to tell the ON of ON CONFLICT from that of a join.
    rows = select(*new, *parameters).where(true())
    columns = (*own, *common)
    insert = insert_of(dialect, thread).from_select(columns, rows, include_defaults=False)
    excluded = insert.excluded
    is_free = or_(
        and_(thread.c.claimed_until.is_(None), thread.c.ends_at < excluded.occurred_at),
        thread.c.claimed_until <= bindparam("of_now"),
        and_(thread.c.claimed_until.is_not(None), thread.c.id == excluded.id),
    )
    values: dict[str, Any] = {name: excluded[name] for name in columns}
    # A new root after one that failed: messages that wait for a root count from the first one.
    is_series = and_(thread.c.claimed_until.is_not(None), thread.c.claimed_at > bindparam("of_series"))
    values["claimed_at"] = case((is_series, thread.c.claimed_at), else_=excluded.claimed_at)
    values |= dict.fromkeys(_COLUMNS_SET_WHILE_OPEN) | {"edit_failures": 0}
    return insert.on_conflict_do_update(index_elements=_KEY_COLUMNS, set_=values, where=is_free).returning(thread.c.id)


def record_roots_and_replies(connection: Connection, results: Iterable[AttemptResult], now: datetime) -> None:
    """Open the threads of roots that were sent, free those of the others, and extend those that got a reply.

    A root belongs to its own thread from the first reply on: most messages get none.

    The results must be the first ones of their claims.
    """
    opened: list[dict[str, Any]] = []
    extended: dict[str, Membership] = {}
    freed: list[str] = []
    removed: list[str] = []
    for result in results:
        claimed = result.claimed
        receipt = result.result
        membership = result.claimed.membership
        if membership is None:
            continue
        is_root = claimed.reply_to is None
        if not isinstance(receipt, Receipt):
            freed += [membership.thread_id] if is_root else []
        elif is_root and receipt.provider_channel:
            root = {"provider_channel": receipt.provider_channel, "root_ts": receipt.provider_id}
            opened.append({"id": membership.thread_id, **root})
        elif is_root or not receipt.in_thread:
            # The provider posted a reply at top level: its root or channel is gone.
            removed.append(membership.thread_id)
        else:
            newest = extended.get(membership.thread_id, membership)
            extended[membership.thread_id] = max(newest, membership, key=lambda membership: membership.occurred_at)
    dialect = connection.dialect.name
    if opened:
        connection.execute(_open_statement(dialect), _by_id(connection, opened))
    if extended:
        rows = [
            {"id": thread_id, "occurred_at": newest.occurred_at, "ends_at": newest.ends_at}
            for thread_id, newest in sorted(extended.items())
        ]
        connection.execute(_extend_statement(dialect), {**_by_id(connection, rows), "of_now": now})
        roots = (delivery.c.id.in_(extended), delivery.c.thread_id.is_(None))
        connection.execute(update(delivery).where(*roots).values(thread_id=delivery.c.id))
    if freed:
        claims = (thread.c.id.in_(freed), thread.c.claimed_until.is_not(None))
        connection.execute(update(thread).where(*claims).values(claimed_until=thread.c.claimed_at))
    if removed:
        connection.execute(delete(thread).where(thread.c.id.in_(removed)))


def _by_id(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters of a statement with `_has_id`."""
    parameters: dict[str, Any] = bulk_parameter(connection, rows)
    return parameters if connection.dialect.name == "sqlite" else parameters | {"ids": [row["id"] for row in rows]}


def _has_id(dialect: str, id_column: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for a thread with this id. The list leads Postgres to the index, whatever the join does."""
    same_id = thread.c.id == id_column
    return (same_id,) if dialect == "sqlite" else (same_id, thread.c.id == any_(bindparam("ids", type_=ARRAY(String))))


@cache
def _open_statement(dialect: str) -> Update:
    root = bulk_rows(dialect, (thread.c.id, thread.c.provider_channel, thread.c.root_ts)).c
    return (
        update(thread)
        .where(*_has_id(dialect, root.id), thread.c.claimed_until.is_not(None))
        .values(provider_channel=root.provider_channel, root_ts=root.root_ts, claimed_until=None)
    )


@cache
def _extend_statement(dialect: str) -> Update:
    newest = bulk_rows(dialect, (thread.c.id, thread.c.occurred_at, thread.c.ends_at)).c
    is_newer = newest.occurred_at >= thread.c.occurred_at
    now = bindparam("of_now", type_=thread.c.edit_due_at.type)
    return (
        update(thread)
        .where(*_has_id(dialect, newest.id))
        .values(
            occurred_at=case((is_newer, newest.occurred_at), else_=thread.c.occurred_at),
            ends_at=case((is_newer, newest.ends_at), else_=thread.c.ends_at),
            edit_due_at=case((thread.c.next_edit_at > now, thread.c.next_edit_at), else_=now),
        )
    )


def renew_roots(connection: Connection, roots: Sequence[str], until: datetime) -> None:
    """Move the end of these threads' claims, as that of their roots' leases."""
    if roots:
        claims = (thread.c.id.in_(roots), thread.c.claimed_until.is_not(None))
        connection.execute(update(thread).where(*claims).values(claimed_until=until))


def release_root(connection: Connection, root: str) -> None:
    """Free the thread of a root that was not sent."""
    connection.execute(delete(thread).where(thread.c.id == root, thread.c.claimed_until.is_not(None)))
