"""Dedup windows: a target that an event with the same dedup key reached, or is about to reach, is suppressed.

Two deliveries are duplicates when their dedup key, event type, subject and target are the same: their `dedup_hash`. A
window counts from the moment the earlier message was sent, or was queued while it waits or is being sent. Suppressed
and finally failed deliveries neither suppress others nor extend a window.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, literal_column, or_, select

from alertctl.error_codes import DUPLICATE
from alertctl.models import Status
from alertctl.outbox.clock_skew import TOLERANCE
from alertctl.outbox.tables import SWEEP, delivery, event
from alertctl.routing import Target

DedupScope = tuple[str | None, ...]
"""A dedup key, an event type, and the parts of a subject."""


class DedupWindows:
    """Decides for one transaction which targets are duplicates, also of events in the same transaction."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._sent: dict[str, str] = {}

    def suppress(
        self, targets: Iterable[Target], scope: DedupScope, window: float | None, event_id: str
    ) -> Iterator[Target]:
        """Yield the event's targets, each with its hash; duplicates are suppressed if the event has a window.

        Publishers of one dedup key must take turns (`publish`): what another one writes meanwhile isn't seen.
        """
        hashed = (replace(target, dedup_hash=_dedup_hash(scope, target)) for target in targets)
        while batch := list(islice(hashed, SWEEP)):
            earlier = {} if window is None else self._earlier(batch, self._now - timedelta(seconds=window))
            for target in batch:
                assert target.dedup_hash is not None
                if target.suppressed_reason is None and target.dedup_hash in earlier:
                    yield replace(target, suppressed_reason=f"{DUPLICATE}{earlier[target.dedup_hash]}")
                    continue
                if target.suppressed_reason is None:
                    self._sent[target.dedup_hash] = event_id
                yield target

    def _earlier(self, targets: Sequence[Target], since: datetime) -> dict[str, str]:
        """Return the newest event sent to each of these targets since then, by hash."""
        hashes = [target.dedup_hash for target in targets]
        times = {"since": since, "now": self._now, "latest": self._now + TOLERANCE}
        rows = self._connection.execute(_sent_since(), {"hashes": hashes, **times})
        return {row.dedup_hash: row.event_id for row in rows} | self._sent


@cache
def _sent_since() -> Select[Any]:
    since = bindparam("since", type_=delivery.c.updated_at.type)
    # An event that has expired is never sent: it is not on its way.
    now = bindparam("now", type_=event.c.expires_at.type)
    can_be_sent = or_(event.c.expires_at.is_(None), event.c.expires_at > now)
    is_queued = and_(delivery.c.next_attempt_at.is_not(None), delivery.c.queued_at > since, can_be_sent)
    # A later time is that of a clock that was set back.
    was_sent = and_(delivery.c.status == Status.SUCCESS.value, delivery.c.updated_at <= bindparam("latest"))
    # Word for word as the partial index has it (migration 0004).
    indexed = (
        delivery.c.dedup_hash.is_not(None),
        delivery.c.status != literal_column(f"'{Status.SUPPRESSED.value}'"),
    )
    return (
        select(delivery.c.dedup_hash, delivery.c.event_id)
        .join(event, event.c.id == delivery.c.event_id)
        .where(
            *indexed,
            delivery.c.dedup_hash.in_(bindparam("hashes", expanding=True)),
            delivery.c.updated_at > since,
            or_(was_sent, is_queued),
        )
        .order_by(delivery.c.id)
    )


def _dedup_hash(scope: DedupScope, target: Target) -> str:
    return sha256(json.dumps([*scope, *target.identity]).encode()).hexdigest()
